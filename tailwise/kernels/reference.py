"""The readable class-wise log-sum-exp: three masked rows of scores per query. The specification of the others."""

from typing import Any

import torch
from torch import Tensor

from tailwise.kernels.problem import EMPTY, ITSELF, Problem, Sums


class _Scores(torch.autograd.Function):
    """q kᵀ, whose backward pass too is not autocast: torch's own would be, where it runs inside of autocast."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor) -> Tensor:
        ctx.save_for_backward(queries, keys)
        return queries @ keys.T

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        queries, keys = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            return grad @ keys, grad.T @ queries


def sums(problem: Problem) -> Sums:
    """See `Sums`; with gradients to queries, keys and bias, by torch's own rules. Time and memory O(B K)."""
    everything = slice(None)
    members = problem.members(everything, everything)  # (3, B, K)
    scores: Tensor = _Scores.apply(problem.queries.to(problem.wide()), problem.keys.to(problem.wide()))
    biased = (scores + problem.bias).masked_fill(~members, EMPTY)
    lse = torch.logsumexp(biased, dim=2).clamp(min=EMPTY)
    with torch.no_grad():
        share = (biased - lse[:, :, None]).masked_fill(~members, -torch.inf).exp()
        mean = (share * scores).sum(2).masked_fill(lse <= EMPTY / 2, 0.0)
    return Sums(lse, mean, members[ITSELF].sum(1))
