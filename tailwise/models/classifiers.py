"""The last layer: what turns features (…, D) into logits (…, C)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """``w_c · f + b_c``. ``weight`` (C, D), ``bias`` (C,); its ``scale`` is 1."""

    scale = 1.0

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__(dim, classes)


class Cosine(nn.Module):
    """``scale · cos(w_c, f)``: features and rows are normalised, so a row's length cannot favour the head classes.

    ``weight`` (C, D) starts as random unit rows; ``scale`` is fixed.
    """

    def __init__(self, dim: int, classes: int, scale: float = 30.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.empty(classes, dim).uniform_(-1, 1), dim=1))
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """(…, D) -> (…, C), each in [−scale, scale]."""
        return self.scale * F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=-1))
