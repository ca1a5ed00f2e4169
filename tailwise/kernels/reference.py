"""The readable class-wise log-sum-exp: three disjoint sums per query, in one pass over the keys."""

from typing import NamedTuple

import torch
from torch import Tensor

EMPTY = -1e30
"""Log-sum-exp of no keys: finite, so that no NaN can arise, and far below any sum that holds a key."""


class ClassLSE(NamedTuple):
    """Per query, log Σ e^(q·k / T + b_k) over three disjoint sets of keys, and the size of the last set."""

    others: Tensor  # (B,) keys of other classes
    own: Tensor  # (B,) keys of the query's class made from other samples
    itself: Tensor  # (B,) keys of the query's class made from the query's own sample
    itself_keys: Tensor  # (B,) int64, how many keys that is

    def own_class(self) -> Tensor:
        """Over every key of the query's class."""
        return torch.logaddexp(self.own, self.itself)


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
    empty set gives `EMPTY`. Gradients reach queries, keys, bias and temperature. Time and memory O(B K).
    """
    scores = queries @ keys.T / temperature + bias
    same_class = labels[:, None] == key_labels
    itself = same_class & (index[:, None] == key_index)

    def over(members: Tensor) -> Tensor:
        return torch.logsumexp(scores.masked_fill(~members, EMPTY), dim=1).clamp(min=EMPTY)

    return ClassLSE(over(~same_class), over(same_class & ~itself), over(itself), itself.sum(1))
