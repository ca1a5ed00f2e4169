"""The frame of two-branch methods: a classifier on one view, a contrast between others (Zhu et al., CVPR 2022)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.contrastive import Columns, Contrastive
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.objective import pointwise, require
from tailwise.losses.samples import Draw, samples
from tailwise.types import Batch, Model, Output


class TwoBranch(Contrastive, ABC):
    """λ · logit-adjusted cross-entropy on the first view + μ · a contrast of the other views, which a subclass defines.

    - ``classifier_weight`` λ, ``contrast_weight`` μ ≥ 0; λ = 0 trains the backbone by contrast alone, the first of two stages.
    - ``tau`` τ ≥ 0: that of `LogitAdjusted`; 0 is plain cross-entropy.
    - ``temperature``, ``width``, ``hidden``, ``pixels``: see `Contrastive`.

    Raises `TailwiseError` for options out of range.
    """

    views = 3
    student_views: Sequence[int] = (0, 1, 2)

    def __init__(
        self,
        counts: Counts,
        model: Model,
        classifier_weight: float = 1.0,
        contrast_weight: float = 1.0,
        tau: float = 1.0,
        temperature: float = 0.1,
        width: int | None = None,
        hidden: int | None = None,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(counts, model, temperature, width, hidden, pixels)
        name = type(self).__name__
        require(min(classifier_weight, contrast_weight, tau) >= 0, f"{name}: weights and tau must not be negative")
        self.classifier_weight, self.contrast_weight, self.tau = classifier_weight, contrast_weight, tau

    @property
    def carried_log_prior(self) -> Tensor:
        """(1 − τ) log π."""
        return (1 - self.tau) * self.log_prior

    def classification(self, out: Output, batch: Batch) -> Tensor:
        """The mean ℓ_LA of the first view over the global batch, a scalar in the graph."""
        logits, targets, weights = pointwise(out, batch)
        return global_mean(logit_adjusted(logits, targets, self.log_prior, self.tau), weights)

    @abstractmethod
    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """The mean contrastive value over the global batch, a scalar in the graph."""

    def in_batch(self, out: Output, batch: Batch) -> Columns:
        """Projections of the views after the first, as anchors and as columns."""
        features, labels, _ = samples(out.features[1:], batch, self.pixels)
        return self.columns(features, labels)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": λ mean ℓ_LA, "con": μ mean of the contrast}``."""
        classifier = self.classification(out, batch)
        return {"cls": self.classifier_weight * classifier, "con": self.contrast_weight * self.contrast(out, batch)}
