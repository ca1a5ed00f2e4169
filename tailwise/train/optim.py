"""The optimizer and how its learning rate moves."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

FUSED = ("cpu", "cuda")
"""Devices with fused kernels of SGD and AdamW in every supported version of torch."""


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


class Poly(Schedule):
    """Linear warm-up over ``warmup`` epochs, then (1 − t)^``power`` with t from 0 to 1 over the whole run; moves every step.

    The schedule of segmentation, whose warm-up is 1,500 of 160,000 steps for transformers. It multiplies the fall, as in
    mmsegmentation, so that the peak is just below the learning rate.
    """

    def __init__(self, power: float = 0.9, warmup: float = 0.0) -> None:
        self.power, self.warmup = power, warmup

    def __call__(self, epoch: float, epochs: int) -> float:
        """See the class."""
        return min(epoch / self.warmup if self.warmup else 1.0, 1.0) * float((1 - epoch / epochs) ** self.power)


def optimizer(
    module: nn.Module, rule: Literal["sgd", "adamw"], lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimizer that a recipe names, over the trainable parameters."""
    if rule == "adamw":
        return adamw(module, lr, weight_decay)
    return sgd(module, lr, momentum, nesterov, weight_decay)


def sgd(module: nn.Module, lr: float, momentum: float, nesterov: bool, weight_decay: float) -> torch.optim.SGD:
    """SGD over the trainable parameters; those with fewer than two axes (biases, norms, temperatures) are not decayed.

    One fused kernel updates all parameters where torch has it for their devices, equal to the plain loop to rounding. It
    takes a gradient to lie in memory as its parameter does: true of what autograd leaves there, not of any ``p.grad = …``.
    """
    return torch.optim.SGD(_groups(module, weight_decay), lr=lr, momentum=momentum, nesterov=nesterov, fused=_fused(module))


def adamw(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, ICLR 2019) with betas 0.9 and 0.999; what is decayed and fused is as in `sgd`."""
    return torch.optim.AdamW(_groups(module, weight_decay), lr=lr, fused=_fused(module))


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    groups = [
        {"params": [p for p in _trained(module) if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in _trained(module) if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _fused(module: nn.Module) -> bool | None:
    """None leaves the choice to torch."""
    return all(p.device.type in FUSED for p in _trained(module)) or None
