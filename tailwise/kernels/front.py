"""`class_lse`: one front for every way to compute a class-wise log-sum-exp."""

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tailwise.kernels import reference, streaming
from tailwise.kernels.problem import Problem, Sums

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
        """The same values, whose gradient goes to the temperature () alone: d LSE / d log T = −mean, in no second pass."""
        moved = temperature.log()
        others, own, itself = self.mean * (moved.detach() - moved)  # three zeros
        return self._replace(
            others=self.others.detach() + others, own=self.own.detach() + own, itself=self.itself.detach() + itself
        )


class _Sums(torch.autograd.Function):
    """A backend's forward and backward pass as one differentiable function of queries, keys and bias."""

    @staticmethod
    def forward(ctx: Any, backend: ModuleType, *problem: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (lse, mean, itself_keys), ctx.state = backend.forward(Problem(*problem))
        ctx.backend = backend
        ctx.save_for_backward(lse)
        ctx.mark_non_differentiable(mean, itself_keys)
        return lse, mean, itself_keys

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        grads = ctx.backend.backward(ctx.state, *ctx.saved_tensors, grad)
        return (None, *grads, None, None, None, None)


def class_lse(
    queries: Tensor,  # (B, d)
    keys: Tensor,  # (K, d)
    bias: Tensor,  # (K,) added to the key's score
    temperature: Tensor | float,
    labels: Tensor,  # (B,)
    key_labels: Tensor,  # (K,)
    index: Tensor,  # (B,) which sample the query is
    key_index: Tensor,  # (K,) which sample the key was made from
) -> ClassLSE:
    """Log-sum-exps of s_ik + b_k, s = q kᵀ / T, over other classes, the own class, and the query's own keys.

    The sets are accumulated apart and never subtracted from one another: a difference of finished sums cancels. An
    empty set gives `EMPTY`. Gradients reach queries, keys, bias and temperature. Time O(B K d); fastest with keys
    sorted by class. Memory O(B K) up to `streaming.KEPT` scores and O(B + K) above.
    """
    fixed = temperature.detach() if isinstance(temperature, Tensor) else temperature
    problem = Problem(queries / fixed, keys, bias, labels, key_labels, index, key_index)
    lse, mean, itself_keys = sums(problem)
    if isinstance(temperature, Tensor) and temperature.requires_grad:
        moved = temperature.log()
        lse = lse + mean * (moved.detach() - moved)  # as `ClassLSE.of_temperature`
    others, own, itself = lse
    return ClassLSE(others, own, itself, itself_keys, mean)


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
