"""Logit adjustment (Menon et al., ICLR 2021); with τ = 1 it is balanced softmax (Ren et al., NeurIPS 2020)."""

from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.cross_entropy import cross_entropy
from tailwise.losses.objective import Objective, pointwise, require
from tailwise.losses.rows import by_rows
from tailwise.types import Batch, Model, Output


@by_rows
def logit_adjusted(logits: Tensor, labels: Tensor, log_prior: Tensor, tau: float = 1.0) -> Tensor:
    """ℓ = log Σ_c e^(f_c + τ log π_c) − (f_y + τ log π_y), per sample (M,).

    Logits (M, C), labels (M,) or target distributions (M, C), log prior (C,), τ ≥ 0. The class y must beat class j by
    τ log(π_j / π_y): large margins for rare classes against frequent ones.
    """
    return cross_entropy(logits + tau * log_prior, labels)


class LogitAdjusted(Objective):
    """Cross-entropy on logits that carry τ log π while training (Menon et al., ICLR 2021); prediction uses the bare logits::

        ℓ = log Σ_c e^(f_c + τ log π_c) − (f_y + τ log π_y)

    ``tau`` τ ≥ 0: the default 1 is balanced softmax (Ren et al., NeurIPS 2020), 0 is cross-entropy. One view; labels are
    classes or mixed targets (B, C). Raises `TailwiseError` for τ < 0.

    The post-hoc form trains `CrossEntropy` and subtracts the prior afterwards: `tailwise.priors.adjust`. Use one of the
    two, never both: the correction would be applied twice.
    """

    def __init__(self, counts: Counts, model: Model, tau: float = 1.0) -> None:
        super().__init__(counts, model)
        require(tau >= 0, f"LogitAdjusted: tau must not be negative, got {tau}")
        self.tau = tau

    @property
    def carried_log_prior(self) -> Tensor:
        """(1 − τ) log π: what the adjustment has left in the scores."""
        return (1 - self.tau) * self.log_prior

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ}``."""
        logits, labels, weights = pointwise(out, batch)
        return {"cls": global_mean(logit_adjusted(logits, labels, self.log_prior, self.tau), weights)}
