"""The optimizer and how its learning rate moves."""

import math
from collections.abc import Sequence

import torch
from torch import nn

FUSED = ("cpu", "cuda")
"""Devices with a fused kernel of SGD in every supported version of torch."""


class Schedule:
    """A multiplier of the peak learning rate at ``epoch`` ∈ [0, epochs), whole plus the fraction done."""

    def __call__(self, epoch: float, epochs: int) -> float:
        raise NotImplementedError


class Cosine(Schedule):
    """Linear warm-up over ``warmup`` epochs, then ½ (1 + cos π t) with t from 0 to 1 over the rest; moves every step."""

    def __init__(self, warmup: float = 0.0) -> None:
        self.warmup = warmup

    def __call__(self, epoch: float, epochs: int) -> float:
        """See the class."""
        if epoch < self.warmup:
            return epoch / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (epoch - self.warmup) / max(epochs - self.warmup, 1e-9)))


class Steps(Schedule):
    """(e + 1) / warmup in the first ``warmup`` epochs, then 1, times ``gamma`` for each milestone reached.

    Constant within an epoch: e is the number of the epoch, from 0; milestone m takes effect in epoch m. The schedule of
    the CIFAR-LT recipes, where ``warmup`` is 5 and the milestones of 200 epochs are 160 and 180.
    """

    def __init__(self, warmup: int = 5, milestones: Sequence[int] = (160, 180), gamma: float = 0.1) -> None:
        self.warmup, self.milestones, self.gamma = warmup, tuple(milestones), gamma

    def __call__(self, epoch: float, epochs: int) -> float:
        """See the class."""
        number = int(epoch)
        if number < self.warmup:
            return (number + 1) / self.warmup
        return float(self.gamma ** sum(number >= m for m in self.milestones))


def sgd(module: nn.Module, lr: float, momentum: float, nesterov: bool, weight_decay: float) -> torch.optim.SGD:
    """SGD over the trainable parameters; those with fewer than two axes (biases, norms, temperatures) are not decayed.

    One fused kernel updates all parameters where torch has it for their devices, equal to the plain loop to rounding. It
    takes a gradient to lie in memory as its parameter does: true of what autograd leaves there, not of any ``p.grad = …``.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in FUSED for p in trained) or None  # None leaves the choice to torch
    return torch.optim.SGD([g for g in groups if g["params"]], lr=lr, momentum=momentum, nesterov=nesterov, fused=fused)
