"""All that tailwise knows about several processes. On one process every function is the identity.

The engine averages gradients over ranks, so a term is written as the mean over the *global* batch times the number of
ranks on each rank's share (`global_mean`), and what is gathered carries its true adjoint (`gather`).
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world() > 1 else 0


class _Gather(torch.autograd.Function):
    """All-gather along the first axis; backward sums every rank's gradient of this rank's share."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        return gather_keys(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous()
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def gather(x: Tensor) -> Tensor:
    """Rows of all ranks in rank order (world·N, …) for x (N, …) of equal N on every rank; with gradients."""
    return _Gather.apply(x) if world() > 1 else x


def gather_keys(x: Tensor) -> Tensor:
    """As `gather`, without a gradient: for what is stored, and for labels."""
    if world() == 1:
        return x
    x = x.detach().contiguous()
    shares = [torch.empty_like(x) for _ in range(world())]
    dist.all_gather(shares, x)
    return torch.cat(shares)


def positions(rows: Tensor) -> Tensor:
    """Where this rank's rows (N, …) lie among those that `gather` gives (N,) int64."""
    return torch.arange(rows.shape[0], device=rows.device) + rank() * rows.shape[0]


def global_sum(x: Tensor) -> Tensor:
    """Sum over ranks, outside the graph."""
    if world() == 1:
        return x.detach()
    total = x.detach().clone()
    dist.all_reduce(total)
    return total


class _Total(torch.autograd.Function):
    """All-reduce; backward sums every rank's gradient, since every rank used the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return global_sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return global_sum(grads[0])


def sum_over_ranks(x: Tensor) -> Tensor:
    """As `global_sum`, with gradients."""
    return _Total.apply(x) if world() > 1 else x


def global_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the global batch, scaled so that the engine's average over ranks is that mean.

    ``world · Σ_local w·v / Σ_global w``; a rank or a batch without weight gives a zero that stays in the graph. Values
    of zero weight must be finite.
    """
    weights = weights.to(values.dtype)
    total = global_sum(weights.sum())
    return world() * (values * weights).sum() / torch.where(total > 0, total, torch.ones_like(total))
