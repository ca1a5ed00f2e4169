"""The asymmetric loss for several labels per sample (Ridnik et al., ICCV 2021)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.counts import Counts
from tailwise.losses.binary_cross_entropy import MultiLabel, multi_hot
from tailwise.losses.objective import require
from tailwise.losses.rows import by_rows
from tailwise.types import Model


@by_rows
def asymmetric(logits: Tensor, labels: Tensor, gamma_positive: float, gamma_negative: float, shift: float) -> Tensor:
    """Σ_c over the classes of a sample, (M,), for logits (M, C), targets (M, C) in [0, 1] or one class each (M,)::

        ℓ_c = −y_c (1 − p)^γ₊ log p  −  (1 − y_c) p_m^γ₋ log(1 − p_m)        p = σ(f_c),  p_m = max(p − m, 0)

    γ₊, γ₋ ≥ 0 focus on what is hard, γ₋ > γ₊ less so among positives; the ``shift`` m ∈ [0, 1) drops negatives of p < m.
    γ₊ = γ₋ = m = 0 is binary cross-entropy. The gradient flows through the focusing factors.
    """
    targets = multi_hot(labels, logits)
    positive = (-gamma_positive * F.softplus(logits)).exp() * F.softplus(-logits)
    # 1 − p_m = min(1 − p + m, 1), in logarithms: exact for large f, and with m = 0
    margin = logits.new_tensor(math.log(shift) if shift else -math.inf)
    rest = torch.logaddexp(-F.softplus(logits), margin).clamp(max=0)
    # the floor keeps the slope of p_m^γ finite at p_m = 0, where γ < 1 makes it infinite
    shifted = -torch.expm1(rest.clamp(max=-torch.finfo(rest.dtype).tiny))
    return (targets * positive - (1 - targets) * shifted**gamma_negative * rest).sum(1)


class Asymmetric(MultiLabel):
    """Focuses among negatives more than among positives, and ignores negatives that are easy.

    Defaults γ₊ = 0, γ₋ = 4, m = 0.05 are those of the authors' training script for MS-COCO; their class has γ₊ = 1. Values of
    targets 0 and 1 are those of their code, which has a floor of 1e-8 under its logarithms and sums over the batch, where this
    takes the mean. The script stops the gradient of the focusing factors; their equation does not, nor does this.

    The shift also bounds what negatives weigh at high logits: with the defaults, of a class in more than 96 % of the samples
    the loss falls for ever as the logit grows. No logit is then that of an input that tells nothing; it carries its log odds.
    """

    def __init__(
        self,
        counts: Counts,
        model: Model,
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        shift: float = 0.05,
        samples: int | None = None,
    ) -> None:
        super().__init__(counts, model, samples)
        require(min(gamma_positive, gamma_negative) >= 0, "Asymmetric: gamma_positive and gamma_negative must not be negative")
        require(0 <= shift < 1, f"Asymmetric: shift must lie in [0, 1), got {shift}")
        self.gamma_positive, self.gamma_negative, self.shift = gamma_positive, gamma_negative, shift

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `asymmetric`."""
        return asymmetric(logits, labels, self.gamma_positive, self.gamma_negative, self.shift)
