"""A teacher is another network that looks at the views. It belongs to an objective, never to the deployed model."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from tailwise.types import Output


class Teacher(nn.Module):
    """Wraps a network that returns an `Output`; it is always in eval mode and receives no gradient."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.dim = cast(int, network.dim)

    def train(self, mode: bool = True) -> "Teacher":
        """Training never changes a teacher's mode: batch statistics must not depend on the student's batch."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, views: Tensor) -> Output:
        """Views (V, B, *X) to an `Output` outside the graph."""
        return cast(Output, self.network(views))

    def follow(self, model: nn.Module) -> None:
        """Called after each optimizer step; a teacher may move towards the model."""
        raise NotImplementedError


class Frozen(Teacher):
    """A trained network that never changes."""

    def follow(self, model: nn.Module) -> None:
        """Stays where it is."""


class Ema(Teacher):
    """The exponential moving average of a model's or a head's weights, θ' ← m θ' + (1 − m) θ (He et al., CVPR 2020).

    Starts as a copy. Buffers (running statistics) are copied, since they are averages already. ``momentum`` in [0, 1].
    """

    def __init__(self, model: nn.Module, momentum: float = 0.999) -> None:
        super().__init__(copy.deepcopy(model))
        self.momentum = momentum

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """One step towards the model's weights."""
        for mine, theirs in zip(self.network.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs, 1 - self.momentum)
        for kept, given in zip(self.network.buffers(), model.buffers(), strict=True):
            kept.copy_(given)
