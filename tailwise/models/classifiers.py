"""The last layer: what turns features (…, D) into logits (…, C).

Each adds a bias per class, so that a correction of the logits can be stored in the model that is shipped: `shift`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """``w_c · f + b_c``. ``weight`` (C, D), ``bias`` (C,); its ``scale`` is 1."""

    scale = 1.0

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__(dim, classes)

    @torch.no_grad()
    def assign(self, weight: Tensor, bias: Tensor) -> None:
        """From now on the logits are ``weight · f + bias``, with weight (C, D) and bias (C,)."""
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    @torch.no_grad()
    def shift(self, by: Tensor) -> None:
        """Add ``by`` (C,) to the logits of every input."""
        self.bias.add_(by.to(self.bias))


class Cosine(nn.Module):
    """``scale · cos(w_c, f) + b_c``: features and rows are normalised, so a row's length cannot favour the head classes.

    ``weight`` (C, D) starts as random unit rows; ``scale`` is fixed; ``bias`` (C,) is not trained, and zero unless a
    post-hoc step sets it.
    """

    bias: Tensor

    def __init__(self, dim: int, classes: int, scale: float = 30.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.empty(classes, dim).uniform_(-1, 1), dim=1))
        self.register_buffer("bias", torch.zeros(classes))
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """(…, D) -> (…, C), each in [−scale, scale] but for the bias."""
        return self.scale * F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=-1)) + self.bias

    @torch.no_grad()
    def shift(self, by: Tensor) -> None:
        """Add ``by`` (C,) to the logits of every input."""
        self.bias.add_(by.to(self.bias))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(f"{prefix}bias", torch.zeros_like(self.bias))  # files written before there was a bias
        super()._load_from_state_dict(state_dict, prefix, *args)


class Scaled(nn.Module):
    """``s_c (w_c · f + b_c)``: the learnable weight scaling, LWS, of a trained linear classifier (Kang et al., ICLR 2020).

    Only ``scales`` (C,) is trained, from 1. The rows and the bias are frozen: those of the run that it starts from, or
    random ones. ``weight`` (C, D) and ``bias`` (C,) are the scaled ones, in the graph of the scales; its ``scale`` is 1.
    """

    scale = 1.0
    frozen_weight: Tensor
    frozen_bias: Tensor

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        start = nn.Linear(dim, classes)
        self.register_buffer("frozen_weight", start.weight.detach().clone())
        self.register_buffer("frozen_bias", start.bias.detach().clone())
        self.scales = nn.Parameter(torch.ones(classes))

    @property
    def weight(self) -> Tensor:
        """(C, D) the scaled rows."""
        return self.scales[:, None] * self.frozen_weight

    @property
    def bias(self) -> Tensor:
        """(C,) the scaled bias."""
        return self.scales * self.frozen_bias

    def forward(self, features: Tensor) -> Tensor:
        """(…, D) -> (…, C)."""
        return self.scales * F.linear(features, self.frozen_weight, self.frozen_bias)

    @torch.no_grad()
    def assign(self, weight: Tensor, bias: Tensor) -> None:
        """From now on the logits are ``weight · f + bias``, with weight (C, D) and bias (C,), and the scales are 1."""
        self.frozen_weight.copy_(weight)
        self.frozen_bias.copy_(bias)
        self.scales.fill_(1.0)

    @torch.no_grad()
    def shift(self, by: Tensor) -> None:
        """Add ``by`` (C,) to the logits of every input; the scales, which could not carry it, go into rows and bias."""
        self.assign(self.weight, self.bias + by.to(self.bias))
