"""`class_lse`: one front for every way to compute a class-wise log-sum-exp."""

import math
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_flatten, tree_unflatten

from tailwise.kernels import reference, streaming
from tailwise.kernels.problem import EMPTY, Problem, Sums
from tailwise.types import TailwiseError

COLDEST = 1e-24
"""The lowest temperature: with unit rows, scores stay far above `EMPTY`."""
SMALL = 1 << 13
"""Up to so many scores the reference is as fast as any."""


class ClassLSE(NamedTuple):
    """Per query, log Σ e^(q·k / T + b_k) over three disjoint sets of keys, and the size of the last set."""

    others: Tensor  # (B,) keys of other classes
    own: Tensor  # (B,) keys of the query's class made from other samples
    itself: Tensor  # (B,) keys of the query's class made from the query's own sample
    itself_keys: Tensor  # (B,) int64, how many keys that is
    mean: Tensor  # (3, B) without gradient: mean score q·k / T of each set under its softmax

    def own_class(self) -> Tensor:
        """Over every key of the query's class."""
        return torch.logaddexp(self.own, self.itself)

    def of_temperature(self, temperature: Tensor) -> "ClassLSE":
        """The same values, whose gradient goes to the temperature () alone, in no second pass."""
        others, own, itself = _zeros(self.mean, temperature)
        return self._replace(
            others=self.others.detach() + others, own=self.own.detach() + own, itself=self.itself.detach() + itself
        )


def _zeros(mean: Tensor, temperature: Tensor) -> Tensor:
    """Zeros like the mean scores, with the gradient of their log-sum-exps to the temperature: d LSE / d log T = −mean."""
    moved = temperature.log()
    return mean * (moved.detach() - moved)


class _Sums(torch.autograd.Function):
    """A backend's forward and backward pass as one differentiable function of queries, keys and bias."""

    @staticmethod
    def forward(ctx: Any, backend: ModuleType, *problem: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (lse, mean, itself_keys), state = backend.forward(Problem(*problem))
        kept, ctx.layout = tree_flatten(state)
        ctx.backend = backend
        ctx.save_for_backward(lse, *kept)  # torch then refuses a backward pass after a change in place
        ctx.mark_non_differentiable(mean, itself_keys)
        return lse, mean, itself_keys

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        lse, *kept = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            grads = ctx.backend.backward(tree_unflatten(kept, ctx.layout), lse, grad, ctx.needs_input_grad[1:4])
        return (None, *grads, None, None, None, None)


def class_lse(
    queries: Tensor,  # (B, d)
    keys: Tensor,  # (K, d) of the dtype of the queries
    bias: Tensor,  # (K,) added to the key's score; −inf for a key that is absent
    temperature: Tensor | float,  # () or a number, positive
    labels: Tensor,  # (B,) any integers, as the next three
    key_labels: Tensor,  # (K,)
    index: Tensor,  # (B,) which sample the query is
    key_index: Tensor,  # (K,) which sample the key was made from
) -> ClassLSE:
    """Log-sum-exps of s_ik + b_k, s = q kᵀ / T, over other classes, the own class, and the query's own keys.

    The sets are accumulated apart and never subtracted from one another: a difference of finished sums cancels. An
    empty set gives `EMPTY`, a NaN among a query's scores NaN. Gradients reach queries, keys, bias and temperature. Sums
    are float32 or wider, whatever the inputs and autocast say; float16 is widened first. Time O(B K d); fastest with keys
    sorted by class. Memory O(B + K) and, tile by tile, `streaming.KEPT` bytes. Shapes, dtypes and temperatures that do not
    fit raise `TailwiseError`.
    """
    given = Problem(queries, keys, bias, labels, key_labels, index, key_index)
    _check(given, temperature)
    if queries.dtype == torch.float16:  # q / T and scores pass its largest number, 65504
        queries, keys = queries.float(), keys.float()
    with torch.autocast(queries.device.type, enabled=False):
        fixed = temperature.detach() if isinstance(temperature, Tensor) else temperature
        present = bias.to(given.wide()).clamp(min=EMPTY)  # −inf − (−inf) would be NaN
        problem = Problem(queries / fixed, keys, present, *(ids.long() for ids in given[3:]))
        lse, mean, itself_keys = sums(problem)
        if isinstance(temperature, Tensor) and temperature.requires_grad:
            lse = lse + _zeros(mean, temperature)
    others, own, itself = lse
    return ClassLSE(others, own, itself, itself_keys, mean)


def _check(given: Problem, temperature: Tensor | float) -> None:
    """Refuse what does not fit together: a GPU's program would read beyond the end. Values are not read: that would wait."""
    rows, width, keys = given.queries.shape[:1], given.queries.shape[1:], given.keys.shape[:1]
    if len(width) != 1 or not given.queries.is_floating_point():
        raise TailwiseError(f"class_lse: queries are {_looks(given.queries)}; give floating (B, d)")
    needed = [rows + width, keys + width, keys, rows, keys, rows, keys]
    for place, (name, x, shape) in enumerate(zip(Problem._fields, given, needed, strict=True)):
        integer = not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)
        fits = integer if place > 2 else x.dtype == given.queries.dtype or (name == "bias" and x.is_floating_point())
        if x.shape != shape or not fits:
            kind = "integers" if place > 2 else "floating" if name == "bias" else given.queries.dtype
            raise TailwiseError(f"class_lse: {name} is {_looks(x)}; beside these queries and keys give {kind} {tuple(shape)}")
    if isinstance(temperature, Tensor) and temperature.ndim > 0:
        raise TailwiseError(f"class_lse: temperature has shape {tuple(temperature.shape)}; give a number or a tensor ()")
    if not (isinstance(temperature, Tensor) or COLDEST <= temperature < math.inf):
        raise TailwiseError(f"class_lse: temperature must be finite and at least {COLDEST:g}, got {temperature}")


def _looks(x: Tensor) -> str:
    return f"{x.dtype} {tuple(x.shape)}"


def sums(problem: Problem) -> Sums:
    """By the reference where that is as fast, by Triton where there is a GPU that it serves, else tile by tile."""
    if problem.labels.numel() * problem.key_labels.numel() <= SMALL:
        return reference.sums(problem)
    return by(fastest(problem), problem)


def fastest(problem: Problem) -> ModuleType:
    """`triton` where it is installed and serves the device, width and dtype of the problem, else `streaming`."""
    if not problem.queries.is_cuda:
        return streaming
    try:
        from tailwise.kernels import triton
    except ImportError:  # not shipped with torch on Windows
        return streaming
    return triton if triton.supports(problem.queries, problem.keys) else streaming


def by(backend: ModuleType, problem: Problem) -> Sums:
    """The sums of a backend (`streaming` or `triton`), with gradients to queries, keys and bias."""
    return Sums(*_Sums.apply(backend, *problem))
