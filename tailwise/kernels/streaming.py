"""The class-wise log-sum-exp tile by tile: matrix products, and a few passes over a tile that stays in the cache.

No buffer grows with the number of classes, and none beyond a tile with the number of keys, unless the scores are few
enough to be kept for the backward pass. Keys are sorted by class, so that a query's own keys are one run of columns:
they are taken out of a tile, and what concerns them touches them alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tailwise.kernels.problem import EMPTY, OTHERS, Problem, Sums

TILE = 1 << 19
"""Scores in a tile: 2 MiB of float32, which stays in the cache."""
KEPT = 1 << 23
"""So many shares the forward pass keeps for the backward pass, which else computes them again: 32 MiB of float32."""


class Sorted(NamedTuple):
    """A problem with its keys sorted by label."""

    problem: Problem
    order: Tensor | None  # (K,) where the keys were; None where they were sorted
    begin: Tensor  # (B,) the first key of a query's class
    end: Tensor  # (B,) one after the last
    dtype: torch.dtype  # of scores and sums: float32 or wider


class Seen(NamedTuple):
    """What a tile says: of other classes per query, and of each pair of a query and a key of its class."""

    share: Tensor  # (B, t) softmax over the tile's keys of other classes
    lse: Tensor  # (B,) log-sum-exp of those
    mean: Tensor  # (B,) mean score under that softmax
    place: Tensor  # (n,) where in the flattened tile the pairs are
    row: Tensor  # (n,) their queries, increasing
    set: Tensor  # (n,) `OWN` or `ITSELF`
    biased: Tensor  # (n,) their scores, with the bias
    raw: Tensor  # (n,) and without


class State(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    given: Sorted
    tiles: list[slice]
    kept: list[Seen]  # of every tile, or of none


def in_order(problem: Problem) -> Sorted:
    """Sort the keys where they are not."""
    order = None
    if bool((problem.key_labels[1:] < problem.key_labels[:-1]).any()):
        order = torch.argsort(problem.key_labels, stable=True)
        of_keys = ("keys", "bias", "key_labels", "key_index")
        problem = problem._replace(**{name: getattr(problem, name)[order] for name in of_keys})
    labels = problem.labels.contiguous()
    begin, end = (torch.searchsorted(problem.key_labels, labels, right=right) for right in (False, True))
    return Sorted(problem, order, begin, end, torch.promote_types(problem.queries.dtype, torch.float32))


def at(values: Tensor, places: Tensor) -> Tensor:
    """``values[places]`` (n,) of a vector, in a fifth of the time."""
    return values.index_select(0, places)


def look(given: Sorted, tile: slice) -> Seen:
    """Score a tile, and take the pairs of one class out of it."""
    problem = given.problem
    scores = (problem.queries @ problem.keys[tile].T).to(given.dtype)
    biased = scores + problem.bias[tile]
    begin, end = (x.clamp(tile.start, tile.stop) - tile.start for x in (given.begin, given.end))
    count = end - begin
    row = torch.repeat_interleave(count)
    column = torch.arange(len(row), device=row.device) + at(begin + count - count.cumsum(0), row)
    place = row * scores.shape[1] + column
    of_pairs = at(biased.view(-1), place), at(scores.view(-1), place)
    biased.view(-1).scatter_(0, place, EMPTY)
    share = torch.softmax(biased, 1)
    lse = biased.amax(1) - share.amax(1).log()  # the largest share is e^(max − lse): less work than logsumexp
    which = OTHERS + 1 + (at(problem.index, row) == at(problem.key_index[tile], column)).long()
    return Seen(share, lse.clamp(min=EMPTY), scores.mul_(share).sum(1), place, row, which, *of_pairs)


class Running:
    """Log-sum-exps and mean scores (3, B) over the keys seen so far."""

    def __init__(self, given: Sorted) -> None:
        shape = 3, len(given.problem.labels)
        self.lse = torch.full(shape, EMPTY, dtype=given.dtype, device=given.problem.labels.device)
        self.mean = torch.zeros_like(self.lse)

    def add(self, seen: Seen) -> None:
        """Take in a tile."""
        queries = len(seen.lse)
        cell = seen.set * queries + seen.row
        top = torch.full_like(self.lse, EMPTY).view(-1).scatter_reduce_(0, cell, seen.biased, "amax")
        weight = (seen.biased - at(top, cell)).exp_()
        total, moment = (torch.zeros_like(top).index_add_(0, cell, x) for x in (weight, weight * seen.raw))
        lse = (top + total.log()).clamp_(min=EMPTY).view(3, queries)
        mean = (moment / total.clamp(min=1.0)).view(3, queries)  # a sum over keys is at least its largest term, 1
        lse[OTHERS], mean[OTHERS] = seen.lse, seen.mean
        both = torch.logaddexp(self.lse, lse)
        self.mean = self.mean * (self.lse - both).exp() + mean * (lse - both).exp()
        self.lse = both


def forward(problem: Problem) -> tuple[Sums, State]:
    """See `Sums`. Time O(B K d), memory O(B + K + tile), plus the shares where B K ≤ `KEPT`."""
    given = in_order(problem)
    queries, keys = len(problem.labels), len(problem.key_labels)
    size = max(TILE // max(queries, 1), 64)
    state = State(given, [slice(k, min(k + size, keys)) for k in range(0, keys, size) if queries], [])
    running, itself_keys = Running(given), torch.zeros_like(given.begin)
    for tile in state.tiles:
        seen = look(given, tile)
        running.add(seen)
        itself_keys.index_add_(0, seen.row, seen.set - OTHERS - 1)
        if queries * keys <= KEPT:
            state.kept.append(seen)
    absent = running.lse <= EMPTY / 2
    return Sums(running.lse.masked_fill(absent, EMPTY), running.mean.masked_fill(absent, 0.0), itself_keys), state


def backward(state: State, lse: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to queries (B, d), keys (K, d) and bias (K,), from the log-sum-exps (3, B) and their gradients."""
    given, problem = state.given, state.given.problem
    grad, lse = grad.contiguous(), lse.masked_fill(lse <= EMPTY / 2, -EMPTY)  # a set without keys has no gradient
    queries = torch.zeros_like(problem.queries, dtype=given.dtype)
    keys, bias = torch.empty_like(problem.keys), torch.empty_like(problem.bias, dtype=given.dtype)
    for i, tile in enumerate(state.tiles):
        seen = state.kept[i] if state.kept else look(given, tile)
        pull = seen.share * ((seen.lse - lse[OTHERS]).exp() * grad[OTHERS])[:, None]
        cell = seen.set * lse.shape[1] + seen.row
        pull.view(-1).scatter_(0, seen.place, (seen.biased - at(lse.view(-1), cell)).exp_() * at(grad.view(-1), cell))
        torch.sum(pull, 0, out=bias[tile])
        pull = pull.to(keys.dtype)
        queries += pull @ problem.keys[tile]
        torch.mm(pull.T, problem.queries, out=keys[tile])
    if given.order is not None:
        back = torch.argsort(given.order)
        keys, bias = keys[back], bias[back]
    return queries.to(problem.queries.dtype), keys, bias.to(problem.bias.dtype)
