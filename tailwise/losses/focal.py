"""Focal loss (Lin et al., ICCV 2017) on the softmax, and its class-balanced form (Cui et al., CVPR 2019)."""

import torch
from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.cross_entropy import cross_entropy
from tailwise.losses.objective import pointwise, require
from tailwise.losses.reweight import Reweighted
from tailwise.losses.rows import by_rows
from tailwise.types import Batch, Model, Output


@by_rows
def focal(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """ℓ = (1 − p_y)^γ (−log p_y) with p = softmax(f), per sample (M,), for logits (M, C), labels (M,) and γ ≥ 0.

    γ = 0 is cross-entropy. The gradient flows through both factors.
    """
    loss = cross_entropy(logits, labels)
    # 1 − p_y without cancellation; the floor keeps the slope of q^γ finite at p_y = 1, where γ < 1 makes it infinite
    missing = -torch.expm1(-loss.clamp(min=torch.finfo(loss.dtype).tiny))
    return missing**gamma * loss


class Focal(Reweighted):
    """Focal loss, with β > 0 times the class weight w_y: class-balanced focal loss, the mean taken over samples.

    γ = 1 is what long-tail codes compare with; they also use 0.5 and 2. Two codes differ: the class-balanced paper's
    has a sigmoid for each class, and that of LDAM raises the weight into the focal factor, (1 − p_y^{w_y})^γ.
    """

    def __init__(self, counts: Counts, model: Model, gamma: float = 1.0, beta: float = 0.0, deferred: float = 0.0) -> None:
        super().__init__(counts, model, beta, deferred)
        require(gamma >= 0, f"Focal: gamma must not be negative, got {gamma}")
        self.gamma = gamma

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean w_y ℓ}``."""
        logits, labels, weights = pointwise(out, batch)
        values = self.class_weight[labels] * focal(logits, labels, self.gamma)
        return {"cls": global_mean(values, weights)}
