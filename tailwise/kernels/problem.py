"""What a class-wise log-sum-exp is asked and what it answers, whoever computes it."""

from typing import NamedTuple

import torch
from torch import Tensor

EMPTY = -1e30
"""Log-sum-exp of no keys: finite, so that no NaN can arise, and far below any sum that holds a key."""
OTHERS, OWN, ITSELF = range(3)
"""The three disjoint sets of keys of a query, and their rows in `Sums`: keys of other classes; of the query's class, made
from other samples; of the query's class, made from the query's own sample."""


class Problem(NamedTuple):
    """Queries and labelled keys, with scores s_ik = q_i · k_k."""

    queries: Tensor  # (B, d) already divided by the temperature
    keys: Tensor  # (K, d)
    bias: Tensor  # (K,) added to the key's score in the sums
    labels: Tensor  # (B,)
    key_labels: Tensor  # (K,)
    index: Tensor  # type: ignore[assignment]  # (B,) which sample the query is
    key_index: Tensor  # (K,) which sample the key was made from

    def wide(self) -> torch.dtype:
        """The dtype of scores and sums: float32 or wider."""
        return torch.promote_types(self.queries.dtype, torch.float32)

    def members(self, rows: slice, keys: slice) -> Tensor:
        """(3, b, k) bool: which of some keys are in each set of some queries."""
        same_class = self.labels[rows, None] == self.key_labels[keys]
        itself = same_class & (self.index[rows, None] == self.key_index[keys])
        return torch.stack([~same_class, same_class & ~itself, itself])


class Sums(NamedTuple):
    """The answer, per set and query."""

    lse: Tensor  # (3, B) log Σ_k e^(s_ik + b_k), `EMPTY` for a set without keys
    mean: Tensor  # (3, B) without gradient: Σ_k p_ik s_ik with p the softmax over the set, 0 for a set without keys
    itself_keys: Tensor  # (B,) int64, the size of the set `ITSELF`
