"""Label distribution disentangling, LADE (Hong et al., CVPR 2021)."""

import math

from torch import Tensor

from tailwise import distributed
from tailwise.counts import Counts, count_labels
from tailwise.distributed import global_mean
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.objective import Objective, full_precision, pointwise, require
from tailwise.types import Batch, Model, Output


@full_precision
def lade_regulariser(logits: Tensor, labels: Tensor, log_prior: Tensor, penalty: float) -> Tensor:
    """R = −Σ_c π_c (M_c − S_c − λ S_c²), a scalar in the graph, over the *global* batch.

    With logits (N, C), labels (N,) IGNORE allowed, log prior (C,) and λ = ``penalty`` ≥ 0::

        M_c = mean_{i: y_i = c} f_c(x_i)        S_c = log mean_i exp(f_c(x_i) − log π_c − log C)

    M_c is 0 for a class without a sample in the batch; S_c averages over all labelled samples, of every class. The
    value differs between ranks, its average over them is R. A batch without labels gives 0.
    """
    valid, own, prior = labels >= 0, labels.clamp(min=0), log_prior.to(logits.dtype)
    size = distributed.global_sum(count_labels(labels, logits.shape[1])).to(logits.dtype)
    share = (prior.exp() / size.clamp(min=1))[own] * valid  # π_y / n_y, so that M needs no loop
    means = distributed.world() * (logits.gather(1, own[:, None])[:, 0] * share).sum()

    spread = (logits - prior - math.log(logits.shape[1])).masked_fill(~valid[:, None], -1e30)
    everywhere = distributed.gather(spread.logsumexp(0)[None]).logsumexp(0)
    labelled = size.sum()
    second = (everywhere - labelled.clamp(min=1).log()).masked_fill(labelled == 0, 0.0)
    return (prior.exp() * (second + penalty * second.square())).sum() - means


class LADE(Objective):
    """Logit-adjusted cross-entropy (τ = 1) plus α R, which pulls each logit towards the log density ratio of its class.

    Defaults α = 0.1, λ = 0.01 are those of CIFAR-100-LT at factor 100; the code's own λ is 0.1. ImageNet-LT has α = 0.05,
    λ = 0.5, Places-LT α = 0.005, λ = 0.1. The scores carry no prior: `tailwise.priors.adjust` gives them any.

    As in the authors' code, the importance factor of S_c is that of the column c, not of the sample's label: it shifts
    S_c by a constant and matters through λ alone. Absent classes have S_c but not M_c there too.
    """

    mixed = False

    def __init__(self, counts: Counts, model: Model, regulariser_weight: float = 0.1, penalty: float = 0.01) -> None:
        super().__init__(counts, model)
        weights = regulariser_weight, penalty
        require(min(weights) >= 0, f"LADE: regulariser_weight and penalty must not be negative, got {weights}")
        self.regulariser_weight, self.penalty = weights

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ_LA, "reg": α R}``."""
        logits, labels, weights = pointwise(out, batch)
        regulariser = lade_regulariser(logits, batch.labels.flatten(), self.log_prior, self.penalty)
        return {
            "cls": global_mean(logit_adjusted(logits, labels, self.log_prior), weights),
            "reg": self.regulariser_weight * regulariser,
        }
