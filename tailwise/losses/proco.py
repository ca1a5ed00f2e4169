"""Probabilistic contrastive learning (Du et al., TPAMI 2024)."""

from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.objective import full_precision
from tailwise.losses.samples import Draw, samples
from tailwise.losses.two_branch import TwoBranch
from tailwise.losses.vmf import log_expectation, natural_parameters, start_means
from tailwise.moments import ClassMeans
from tailwise.types import Batch, Model, Output


@full_precision
def probabilistic_contrastive(
    rows: Tensor,  # (M, p) unit rows
    labels: Tensor,  # (M,) IGNORE allowed
    natural: Tensor,  # (C, p) κ_c μ_c of the classes
    temperature: float,
    log_prior: Tensor,  # (C,)
) -> Tensor:
    """Supervised contrast against infinitely many samples of every class, per row (M,).

    With z̃ of class j drawn from vMF(μ_j, κ_j) and r_j = log E[e^(z·z̃/τ)], see `log_expectation`::

        ℓ = log Σ_j π_j e^(r_j)  −  log π_y e^(r_y)

    The value for an IGNORE row is finite and means nothing.
    """
    return logit_adjusted(log_expectation(rows, natural, temperature), labels.clamp(min=0), log_prior)


class ProCo(TwoBranch):
    """Probabilistic contrast (Du et al., TPAMI 2024), of three views: logit-adjusted cross-entropy on the first one, and the
    unit rows z of the others against infinitely many samples of every class, see `probabilistic_contrastive`::

        ℓ = λ ℓ_LA + μ mean [ log Σ_j π_j e^(r_j) − log π_y e^(r_y) ]        r_j = log E e^(z · z̃ / T), z̃ ~ vMF(μ_j, κ_j)

    Each class's features are a von Mises–Fisher distribution, estimated from the running means of the projected second
    and third views of all ranks, those of the step itself included. An epoch works with the means of the epoch before
    and of its own so far (`on_epoch`). Gradients reach the features, not the distributions.

    Options are those of `TwoBranch`. Defaults: λ = μ = 1, T = 0.1, a head of 512 hidden units and 128 outputs, the
    authors' CIFAR settings; for ImageNet-LT they have T = 0.07 and 1024 outputs.
    The estimate of κ is the closer one of two, and the Bessel functions are not theirs: see `natural_parameters` and
    `tailwise.kernels.bessel`.
    """

    def __init__(
        self,
        counts: Counts,
        model: Model,
        width: int = 128,
        hidden: int = 512,
        classifier_weight: float = 1.0,
        contrast_weight: float = 1.0,
        tau: float = 1.0,
        temperature: float = 0.1,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(counts, model, classifier_weight, contrast_weight, tau, temperature, width, hidden, pixels)
        self.means = ClassMeans(start_means(model.classes, self.width))

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """The means of the epoch that ends are kept, those of the one before it dropped."""
        self.means.turn(epoch)

    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """The mean of `probabilistic_contrastive` over the labelled rows of both views."""
        features, labels, _ = samples(out.features[1:], batch, self.pixels)
        rows, labels = self.projector(features).flatten(0, 1), labels.repeat(features.shape[0])
        if self.training:
            self.means.push(rows, labels)
        natural = natural_parameters(self.means.read())
        values = probabilistic_contrastive(rows, labels, natural, self.temperature, self.log_prior)
        return global_mean(values, labels >= 0)
