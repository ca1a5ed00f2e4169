"""The shape of class clouds: how tight they are, how their means lie to each other, and whether training moved them.

N samples of features z (N, D), labels (N,) in 0..C−1, training counts (C,) that say which shot group a class is in. A cloud's
mean is that of directions z / |z| where angles are meant. Everything is read from weighted sums over the samples of a class,
and noise is taken out where it would make small classes look different: with n samples |mean|² is |μ|² + tr Σ / n on average,
so the pairs of a sample with itself are left out, U = Σ_{i≠j} w_i w_j z_i·z_j / Σ_{i≠j} w_i w_j, whose mean is |μ|² for every
n ≥ 2. A class of one sample has no spread, angle or drift, and is left out of them. Intervals: `tailwise.metrics.bootstrap`.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from tailwise.counts import Counts, with_aliases
from tailwise.metrics.bootstrap import (
    REPLICATES,
    Figure,
    class_figure,
    clouds,
    figure,
    group_masks,
    per_class,
    resampled,
    same_width,
    unit,
)
from tailwise.metrics.given import Numbers


class Moments(NamedTuple):
    """Weighted moments of the classes, one row for each of r weightings of the samples."""

    mean: Tensor  # (r, C, D)
    square: Tensor  # (r, C) |μ|² without the noise of the mean, NaN for fewer than two samples
    trace: Tensor  # (r, C) trace of the covariance


def moments(x: Tensor, labels: Tensor, classes: int, replicates: int = REPLICATES, seed: int = 0) -> Iterator[Moments]:
    """Moments of sorted samples (N, D) under the weights of `tailwise.metrics.bootstrap.resampled`, piece by piece."""
    sizes = labels.bincount(minlength=classes)
    ends, length = sizes.cumsum(0).tolist(), x.square().sum(1)
    for w in resampled(labels, classes, replicates, seed, wide=classes * max(x.shape[1], classes)):
        mean = x.new_zeros(len(w), classes, x.shape[1])
        for c, (end, n) in enumerate(zip(ends, sizes.tolist(), strict=True)):
            mean[:, c] = w[:, end - n : end] @ x[end - n : end]
        own, pairs = per_class(w.square() * length, labels, classes), 1 - per_class(w.square(), labels, classes)
        square = torch.where(sizes > 1, (mean.square().sum(-1) - own) / pairs, torch.nan)
        yield Moments(mean, square, per_class(w * length, labels, classes) - square)


@with_aliases
def spread(
    features: Numbers, labels: Numbers, counts: Counts, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Figure]:
    """How far the samples of a class lie apart, averaged over the classes of each group.

    - ``spread``: mean of 1 − cos(z, μ_c), in [0, 1]; for directions of length 1 this is 1 − |μ_c|, 0 for one point.
    - ``trace``: trace of the covariance of the features as they are, unbiased, in their squared units.
    - ``nc1``: that over the trace of the covariance of all class means, the within-between ratio of neural collapse (Papyan
      et al., PNAS 2020) by traces: 0 where every class is a point; without units.
    """
    x, y, n = clouds(features, labels, counts, "spread")
    classes, sizes = n.numel(), y.bincount(minlength=n.numel())
    angular = torch.cat([m.square.clamp(min=0).sqrt() for m in moments(unit(x), y, classes, replicates, seed)])
    parts = [(m.trace, _between(m)) for m in moments(x, y, classes, replicates, seed)]
    trace, between = (torch.cat(column) for column in zip(*parts, strict=True))
    figures = {"spread": 1 - angular, "trace": trace, "nc1": trace / between[:, None]}
    return {
        name: class_figure(values, sizes, n, within=(0.0, 1.0 if name == "spread" else math.inf))
        for name, values in figures.items()
    }


def _between(found: Moments) -> Tensor:
    """(r,) mean over the classes of |μ_c − mean of the μ|², without the noise of the means; NaN where it is not above it."""
    kept = found.square[0].isfinite()
    between = _squares(found.mean[:, kept], found.square[:, kept])[0].mean(1)
    return torch.where(between > 0, between, torch.nan)


def _squares(mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Squared lengths (r, C) of the means less their common mean, without noise, and the noise, which centring has spread."""
    noise, classes = mean.square().sum(-1) - square, max(mean.shape[1], 1)
    noise = noise * (1 - 2 / classes) + noise.mean(1, keepdim=True) / classes  # diagonal of J diag(noise) J, J = 1 − 1/C
    return (mean - mean.mean(1, keepdim=True)).square().sum(-1) - noise, noise


def _clear(x: Tensor, labels: Tensor, classes: int, replicates: int, seed: int) -> tuple[Tensor, Tensor]:
    """Which classes (C,) have a centred mean that is clear of its noise, and the squared lengths (C,) without it.

    Clear is one that is longer than its noise, and by twice its standard deviation over `TRIED` weightings.
    """
    pieces = [_squares(m.mean, m.square) for m in moments(x, labels, classes, min(TRIED, replicates), seed)]
    square, noise = (torch.cat(column) for column in zip(*pieces, strict=True))
    deviation = square[1:].std(0) if len(square) > 2 else torch.zeros_like(square[0])
    return square[0] > torch.maximum(noise[0], 2 * deviation).clamp(min=1e-12), square[0]


def _cosines(found: Moments, usual: Tensor) -> Tensor:
    """Cosines (r, C, C) of the centred means without their noise; by chance they may lie beyond ±1.

    A replicate may be short by chance: its squared length is taken to be no less than a sixteenth of the ``usual`` (C,).
    """
    centred = found.mean - found.mean.mean(1, keepdim=True)
    noise, classes = found.mean.square().sum(-1) - found.square, found.mean.shape[1]
    product = (centred.float() @ centred.float().mT).double()
    product -= (noise.mean(1)[:, None, None] - noise[:, :, None] - noise[:, None]) / classes  # as in `_squares`
    length = torch.maximum(_squares(found.mean, found.square)[0], usual / 16).clamp(min=1e-300).sqrt()
    return (product / (length[:, :, None] * length[:, None])).clamp(-1.5, 1.5)


@with_aliases
def angles(
    features: Numbers, labels: Numbers, counts: Counts, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Figure]:
    """How the class means of directions lie to each other, after their common mean is taken off.

    Of a group: the pairs (a, b) with a in it and b any other class, c_ab their cosine, C the classes of two samples or more.

    - ``balancedness``: standard deviation of c_ab over the pairs, in [0, 1]; 0 where all have the same share of the space.
    - ``min_angle``: the smallest angle, in degrees, in [0, 180].
    - ``simplex_max``, ``simplex_rms``: largest and root mean square of |c_ab + 1/(C − 1)|, 0 for a regular simplex, where
      each mean is as far from the others as can be.

    A class whose centred mean is not clear of its noise points nowhere: it is left out of the pairs, and not counted. Noise
    spreads the other cosines, so these are shifted by the bias that their replicates show; what is left of it is in the
    interval. None where there is no pair. Of more than `WIDEST` classes as many are looked at, evenly spaced by their counts.
    """
    x, y, n = clouds(features, labels, counts, "angles")
    sizes = y.bincount(minlength=n.numel())
    two = (sizes > 1).nonzero()[:, 0]
    if len(two) < 2:
        return {name: dict.fromkeys(group_masks(n)) for name in FIGURES}
    kept = torch.zeros_like(n, dtype=torch.bool)
    by_count = two[n[two].argsort(stable=True)]
    kept[by_count[torch.linspace(0, len(two) - 1, min(len(two), WIDEST)).round().long()]] = True
    own = kept[y]
    x, y, n, sizes = unit(x[own]), (kept.cumsum(0) - 1)[y[own]], n[kept], sizes[kept]
    clear, usual = _clear(x, y, n.numel(), replicates, seed)
    groups = {group: mask & clear for group, mask in group_masks(n).items()}
    rows: dict[str, dict[str, list[Tensor]]] = {name: {group: [] for group in groups} for name in FIGURES}
    for found in moments(x, y, n.numel(), replicates, seed):
        cosine = _cosines(found, usual)
        for group, mask in groups.items():
            for name, values in _of_pairs(cosine, mask, clear).items():
                rows[name][group].append(values)
    of = {group: sizes[mask] for group, mask in groups.items()}
    whole = {name: {group: torch.cat(parts) for group, parts in found.items()} for name, found in rows.items()}
    return {name: _shifted(name, whole[name], of, n.numel()) for name in FIGURES}


WIDEST = 1000
"""Classes whose pairs are looked at, at most."""
TRIED = 20
"""Weightings that tell whether a mean is clear of its noise."""
FIGURES = ("balancedness", "min_angle", "simplex_max", "simplex_rms")


def _of_pairs(cosine: Tensor, mask: Tensor, clear: Tensor) -> dict[str, Tensor]:
    """What `_shifted` takes, (r,) each, from cosines (r, C, C), of the pairs from the mask (C,) to another clear class."""
    others = (~torch.eye(len(mask), dtype=torch.bool) & clear)[mask]
    if not bool(others.any()):
        return dict.fromkeys(FIGURES, cosine.new_full(cosine.shape[:1], torch.nan))
    c = cosine[:, mask][:, others]  # (r, pairs)
    off = (c + 1 / (len(mask) - 1)).abs()
    return {
        "balancedness": c.var(1, correction=0),
        "min_angle": -c.amax(1),
        "simplex_max": off.amax(1),
        "simplex_rms": off.square().mean(1),
    }


def _shifted(name: str, rows: dict[str, Tensor], sizes: dict[str, Tensor], classes: int) -> Figure:
    """A figure of `angles` among so many classes, from squares of deviations, and extremes of cosines rather than angles."""
    found: Figure = {}
    most = {"balancedness": 1.0, "simplex_max": 1 + 1 / (classes - 1), "simplex_rms": (1 + 1 / (classes - 1)) ** 2}
    for group, values in rows.items():
        least = -1.0 if name == "min_angle" else 0.0
        nearest = 1 / max(sizes[group].numel() - 1, 1)  # of so many directions two are at least as near as in a simplex
        found |= figure({group: values}, sizes, unbiased=False, within=(least, most.get(name, nearest)))
    extreme = {"min_angle": min, "simplex_max": max}.get(name)
    if extreme and (whole := found["all"]):  # shifted on its own it would be another than that of the groups
        value = extreme(cell["value"] or 0.0 for cell in found.values() if cell)
        low, high = whole["low"], whole["high"]
        found["all"] = whole | {
            "value": value,
            "low": None if low is None else min(low, value),
            "high": None if high is None else max(high, value),
        }
    scales: dict[str, Callable[[float], float]] = {"min_angle": _angle, "simplex_max": float}
    told = scales.get(name, math.sqrt)
    return {
        group: cell and {key: end if end is None or key == "classes" else told(end) for key, end in cell.items()}
        for group, cell in found.items()
    }


def _angle(turned: float) -> float:
    """Degrees, from the cosine with its sign turned, so that both grow together."""
    return math.degrees(math.acos(-turned))


@with_aliases
def drift(
    train_features: Numbers,
    train_labels: Numbers,
    features: Numbers,
    labels: Numbers,
    counts: Counts,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Figure]:
    """How far the class means of test samples lie from those of training samples; both are resampled.

    - ``drift``: 1 − cos(μ_train, μ_test) of directions, in [0, 2].
    - ``drift_in_spread``: |μ_train − μ_test|² over the trace of the covariance of the test samples, not negative.

    The noise of the means is taken out, so a class of few samples does not drift for that reason alone; where there is no
    drift an estimate may lie below 0. A class with fewer than two samples on a side is left out.
    """
    first, second = clouds(train_features, train_labels, counts, "drift"), clouds(features, labels, counts, "drift")
    same_width(first[0], second[0], "drift")
    n = first[2]
    sizes = [y.bincount(minlength=n.numel()) for _, y, _ in (first, second)]
    cosine, apart = [], []
    pieces = [_reduced(unit(x), y, n.numel(), replicates, seed + side) for side, (x, y, _) in enumerate((first, second))]
    for a, b in zip(*pieces, strict=True):
        product = (a.mean * b.mean).sum(-1)
        lengths = (a.square.clamp(min=0) * b.square.clamp(min=0)).sqrt()
        cosine.append(torch.where(lengths > 0, product / lengths, torch.nan))
        apart.append((a.square + b.square - 2 * product) / b.trace)
    smaller = torch.minimum(*sizes)
    return {
        "drift": class_figure(1 - torch.cat(cosine).clamp(-1, 1.5), smaller, n, within=(-0.5, 2.0)),
        "drift_in_spread": class_figure(torch.cat(apart), smaller, n),
    }


def _reduced(x: Tensor, labels: Tensor, classes: int, replicates: int, seed: int) -> Iterator[Moments]:
    """`moments` one weighting at a time, so that two sets of samples go side by side."""
    for found in moments(x, labels, classes, replicates, seed):
        for row in range(len(found.square)):
            yield Moments(*(values[row : row + 1] for values in found))
