"""The class-wise log-sum-exp tile by tile: matrix products, and a few passes over a tile that stays in the cache.

No buffer grows with the number of classes, and none beyond a tile with the number of keys, unless the scores are few
enough to be kept for the backward pass. Keys are sorted by class, so that a query's own keys are one run of columns:
they are taken out of a tile, and what concerns them touches them alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tailwise.kernels.problem import EMPTY, ITSELF, OTHERS, Problem, Sums

TILE = 1 << 19
"""Scores in a tile: 2 MiB of float32, which stays in the cache."""
KEPT = 1 << 25
"""Up to so many bytes the forward pass keeps of its tiles for the backward pass, which else computes them again: 32 MiB."""
PAIR = 16
"""Bytes kept of a pair of a query and a key of its class, beside those of a score."""


class Sorted(NamedTuple):
    """A problem with its keys sorted by label."""

    problem: Problem
    order: Tensor | None  # (K,) where the keys were; None where they were sorted
    begin: Tensor  # (B,) the first key of a query's class
    end: Tensor  # (B,) one after the last


class Seen(NamedTuple):
    """What the backward pass needs of a tile, in which n keys are of their query's class."""

    share: Tensor  # (B, t) softmax over the keys of other classes; in the place of a pair its score with the bias
    lse: Tensor  # (B,) log-sum-exp over the keys of other classes
    place: Tensor  # (n,) where in the flattened tile the pairs are
    cell: Tensor  # (n,) where in the flattened sums (3, B) they belong


class State(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    given: Sorted
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
    return Sorted(problem, order, begin, end)


def tiles(problem: Problem) -> list[slice]:
    """The keys in runs that make a tile with all queries."""
    queries, keys = len(problem.labels), len(problem.key_labels)
    size = max(TILE // max(queries, 1), 64)
    return [slice(k, min(k + size, keys)) for k in range(0, keys, size) if queries]


def at(values: Tensor, places: Tensor) -> Tensor:
    """The flattened values at places (n,), in a fifth of the time of an index."""
    return values.view(-1).index_select(0, places)


def pairs(given: Sorted, tile: slice) -> tuple[Tensor, Tensor]:
    """The pairs of one class in a tile, query by query: ``place`` and ``cell`` of `Seen`."""
    begin, end = (x.clamp(tile.start, tile.stop) - tile.start for x in (given.begin, given.end))
    count = end - begin
    row = torch.repeat_interleave(count)
    column = torch.arange(len(row), device=row.device) + at(begin + count - count.cumsum(0), row)
    itself = at(given.problem.index, row) == at(given.problem.key_index[tile], column)
    return column.add_(row, alpha=tile.stop - tile.start), row.add_(len(count)).add_(itself, alpha=len(count))


def look(given: Sorted, tile: slice) -> tuple[Seen, Sums]:
    """Score a tile, and take the pairs of one class out of it; what is kept of it, and its sums."""
    problem, (place, cell) = given.problem, pairs(given, tile)
    scores = (problem.queries @ problem.keys[tile].T).to(problem.wide())
    share = scores + problem.bias[tile]
    biased, raw = at(share, place), at(scores, place)
    share.view(-1).scatter_(0, place, EMPTY)
    top = share.amax(1)
    share = torch.softmax(share, 1)
    others = (top - share.amax(1).log()).clamp_(min=EMPTY)  # the largest share is e^(max − lse): less work than logsumexp
    centre = scores.mul_(share).sum(1)
    share.view(-1).scatter_(0, place, biased)
    return Seen(share, others, place, cell), _with_pairs(others, centre, cell, biased, raw)


def _with_pairs(others: Tensor, centre: Tensor, cell: Tensor, biased: Tensor, raw: Tensor) -> Sums:
    """The sums of a tile from those over other classes (B,) and its pairs' scores, with and without the bias."""
    cells, shape = 3 * len(others), (3, len(others))
    top = others.new_full((cells,), EMPTY).scatter_reduce_(0, cell, biased, "amax")
    weight = (biased - at(top, cell)).exp_()
    total, moment = (torch.zeros_like(top).index_add_(0, cell, x) for x in (weight, weight * raw))
    lse = (top + total.log()).clamp_(min=EMPTY).view(shape)
    mean = (moment / total.clamp(min=1.0)).view(shape)  # a sum over keys is at least its largest term, 1
    lse[OTHERS], mean[OTHERS] = others, centre
    return Sums(lse, mean, torch.bincount(cell, minlength=cells).view(shape)[ITSELF])


def both(first: Sums, second: Sums) -> Sums:
    """The sums over two tiles."""
    lse = torch.logaddexp(first.lse, second.lse)
    mean = first.mean * (first.lse - lse).exp() + second.mean * (second.lse - lse).exp()
    return Sums(lse, mean, first.itself_keys + second.itself_keys)


def forward(problem: Problem) -> tuple[Sums, State]:
    """See `Sums`. Time O(B K d), memory O(B + K + tile), plus `KEPT` bytes."""
    given, queries, wide = in_order(problem), len(problem.labels), problem.wide()
    bytes_seen = queries * len(problem.key_labels) * wide.itemsize + int((given.end - given.begin).sum()) * PAIR
    state, sums = State(given, []), None
    for tile in tiles(problem):
        seen, of_tile = look(given, tile)
        sums = of_tile if sums is None else both(sums, of_tile)
        if bytes_seen <= KEPT:
            state.kept.append(seen)
    if sums is None:
        nothing = torch.full((3, queries), EMPTY, dtype=wide, device=problem.queries.device)
        return Sums(nothing, torch.zeros_like(nothing), torch.zeros_like(given.begin)), state
    absent = sums.lse <= EMPTY / 2
    return Sums(sums.lse.masked_fill_(absent, EMPTY), sums.mean.masked_fill_(absent, 0.0), sums.itself_keys), state


def backward(
    state: State, lse: Tensor, grad: Tensor, wanted: Sequence[bool] = (True, True, True)
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients to queries (B, d), keys (K, d) and bias (K,), as ``wanted``, from the log-sum-exps (3, B) and theirs."""
    given, problem = state.given, state.given.problem
    grad, lse = grad.contiguous(), lse.masked_fill(lse <= EMPTY / 2, -EMPTY)  # a set without keys has no gradient
    queries = torch.zeros_like(problem.queries, dtype=problem.wide()) if wanted[0] else None
    keys = torch.empty_like(problem.keys) if wanted[1] else None
    bias = torch.empty_like(problem.bias, dtype=problem.wide()) if wanted[2] else None
    for i, tile in enumerate(tiles(problem)):
        seen = state.kept[i] if state.kept else look(given, tile)[0]
        pull = seen.share * ((seen.lse - lse[OTHERS]).exp() * grad[OTHERS])[:, None]
        own = (at(seen.share, seen.place) - at(lse, seen.cell)).exp_() * at(grad, seen.cell)
        pull.view(-1).scatter_(0, seen.place, own)
        if bias is not None:
            torch.sum(pull, 0, out=bias[tile])
        pull = pull.to(problem.keys.dtype)
        if queries is not None:
            queries += pull @ problem.keys[tile]
        if keys is not None:
            torch.mm(pull.T, problem.queries, out=keys[tile])
    if given.order is not None:
        back = torch.argsort(given.order)
        keys, bias = (None if x is None else x[back] for x in (keys, bias))
    queries, bias = (None if x is None else x.to(like.dtype) for x, like in ((queries, problem.queries), (bias, problem.bias)))
    return queries, keys, bias
