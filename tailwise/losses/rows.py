"""Losses of single rows, such as cross-entropy, of so many rows that a copy of the logits would not fit."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tailwise.losses.objective import full_precision

P = ParamSpec("P")
Loss = Callable[Concatenate[Tensor, Tensor, P], Tensor]

LIMIT = 1 << 23
"""Logits in a chunk; up to as many are taken at once. In float32 they are 32 MiB."""


def by_rows(loss: Loss[P]) -> Loss[P]:
    """Run a loss per row in float32 (or wider), and in chunks where there are more logits than `LIMIT`.

    ``loss`` takes logits (M, C), labels (M,) or whatever else has one entry for each row, and constants; it gives a value
    for each row (M,) that depends on this row alone. Chunks leave no graph behind: the backward pass evaluates each
    again and writes its gradient into that of the logits, in their own precision. So there is never a copy of
    the logits, where a plain call has two or three of them, of four bytes even if a logit has two. It costs one more
    forward pass. The gradient is with respect to the logits; where anything else asks for one, the plain call is made.
    """
    whole = full_precision(loss)

    @functools.wraps(loss)
    def call(logits: Tensor, labels: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        others = [value for value in (labels, *args, *kwargs.values()) if isinstance(value, Tensor)]
        if logits.numel() <= LIMIT or any(value.requires_grad for value in others):
            return whole(logits, labels, *args, **kwargs)
        values: Tensor = _Chunked.apply(whole, tuple(kwargs), logits, labels, *args, *kwargs.values())
        return values

    return call


class _Chunked(torch.autograd.Function):
    """``loss(logits, labels, *constants)`` whose last ``names`` constants go by name."""

    @staticmethod
    def forward(ctx: Any, loss: Callable[..., Tensor], names: tuple[str, ...], *given: Any) -> Tensor:
        ctx.loss, ctx.names = loss, names
        ctx.save_for_backward(*(value if isinstance(value, Tensor) else None for value in given))
        ctx.others = [None if isinstance(value, Tensor) else value for value in given]
        logits, labels, *constants = given
        return torch.cat([_call(ctx, logits[rows], labels[rows], constants) for rows in _chunks(logits)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        given = [other if saved is None else saved for saved, other in zip(ctx.saved_tensors, ctx.others, strict=True)]
        logits, labels, *constants = given
        slope = torch.empty_like(logits)
        for rows in _chunks(logits):
            part = logits[rows].detach().requires_grad_()
            with torch.enable_grad():
                values = _call(ctx, part, labels[rows], constants)
            (slope[rows],) = torch.autograd.grad(values, part, upstream[rows])
        return None, None, slope, None, *(None for _ in constants)


def _call(ctx: Any, logits: Tensor, labels: Tensor, constants: list[Any]) -> Tensor:
    split = len(constants) - len(ctx.names)
    values: Tensor = ctx.loss(logits, labels, *constants[:split], **dict(zip(ctx.names, constants[split:], strict=True)))
    return values


def _chunks(logits: Tensor) -> Iterator[slice]:
    """Rows of at most `LIMIT` logits, at least one."""
    step = max(LIMIT // logits.shape[1], 1)
    for start in range(0, logits.shape[0], step):
        yield slice(start, start + step)
