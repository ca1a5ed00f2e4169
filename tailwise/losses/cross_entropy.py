"""Softmax cross-entropy, the baseline whose scores carry the training prior."""

import torch.nn.functional as F
from torch import Tensor

from tailwise.distributed import global_mean
from tailwise.losses.objective import Objective, pointwise
from tailwise.losses.rows import by_rows
from tailwise.types import Batch, Output


@by_rows
def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """ℓ = log Σ_c e^(f_c) − f_y, per sample (M,), for logits (M, C) and labels (M,) or target distributions (M, C)."""
    return F.cross_entropy(logits, labels, reduction="none")


class CrossEntropy(Objective):
    """Mean softmax cross-entropy over the labelled samples of one view."""

    @property
    def carried_log_prior(self) -> Tensor:
        """log π: the scores of plain cross-entropy follow the training frequencies."""
        return self.log_prior

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ}``."""
        logits, labels, weights = pointwise(out, batch)
        return {"cls": global_mean(cross_entropy(logits, labels), weights)}
