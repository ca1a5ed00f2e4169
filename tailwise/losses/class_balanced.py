"""Class-balanced cross-entropy (Cui et al., CVPR 2019)."""

from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.cross_entropy import cross_entropy
from tailwise.losses.objective import pointwise
from tailwise.losses.reweight import Reweighted
from tailwise.losses.rows import by_rows
from tailwise.types import Batch, Model, Output


@by_rows
def class_balanced(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """ℓ = w_y (log Σ_c e^(f_c) − f_y), per sample (M,), for logits (M, C), labels (M,) and class weights w (C,)."""
    return weights.to(logits.dtype)[labels] * cross_entropy(logits, labels)


class ClassBalanced(Reweighted):
    """Cross-entropy weighted by `class_weights`, from the start or, with ``deferred`` = 0.8, in the last fifth of training.

    The mean divides by the number of samples, as the authors' code does. ``F.cross_entropy(weight=w)`` divides by Σ w_y
    instead: its gradient is larger by 1 / Σ π_c w_c, about six on CIFAR-10-LT at factor 100 and β = 0.9999.
    """

    def __init__(self, counts: Counts, model: Model, beta: float = 0.9999, deferred: float = 0.0) -> None:
        super().__init__(counts, model, beta, deferred)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ}``."""
        logits, labels, weights = pointwise(out, batch)
        return {"cls": global_mean(class_balanced(logits, labels, self.class_weight), weights)}
