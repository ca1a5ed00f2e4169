"""The shape of class clouds: how tight they are, how their means lie to each other, and whether training moved them.

N samples of features z (N, D), labels (N,) in 0..C−1, training counts (C,) that say which shot group a class is in. A cloud's
mean is that of directions z / |z| where angles are meant. Everything is read from weighted sums over the samples of a class,
and noise is taken out where it would make small classes look different: with n samples |mean|² is |μ|² + tr Σ / n on average,
so the pairs of a sample with itself are left out, U = Σ_{i≠j} w_i w_j z_i·z_j / Σ_{i≠j} w_i w_j, whose mean is |μ|² for every
n ≥ 2. A class of one sample has no spread, angle or drift, and is left out of them. Intervals: `tailwise.metrics.bootstrap`.
"""

from collections.abc import Iterator
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
    return {name: class_figure(values, sizes, n) for name, values in figures.items()}


def _between(found: Moments) -> Tensor:
    """(r,) mean over the classes of |μ_c − mean of the μ|², without the noise of the means; NaN where it is not above it."""
    centred, noise = _centred(found, found.square[0].isfinite())
    classes = max(noise.shape[1], 1)
    total = centred.square().sum((1, 2)) / classes - noise.mean(1) * (1 - 1 / classes)
    return torch.where(total > 0, total, torch.nan)


def _centred(found: Moments, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Means (r, c, D) of the classes in the mask less their common mean, and the noise (r, c) in |mean|²."""
    mean = found.mean[:, kept]
    return mean - mean.mean(1, keepdim=True), mean.square().sum(-1) - found.square[:, kept]


def _cosines(found: Moments, kept: Tensor) -> Tensor:
    """Cosines (r, c, c) of the centred means; their lengths without noise, which centring has spread over the classes."""
    centred, noise = _centred(found, kept)
    classes = noise.shape[1]
    product = (centred.float() @ centred.float().mT).double()
    off = noise.mean(1)[:, None, None] - noise[:, :, None] - noise[:, None]
    product -= off / classes  # of J diag(noise) J, J = 1 − 1/c, what lies off the diagonal; and on it the noise itself
    product.diagonal(dim1=1, dim2=2).sub_(noise)
    length = product.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    return (product / (length[:, :, None] * length[:, None])).clamp(-1, 1)


@with_aliases
def angles(
    features: Numbers, labels: Numbers, counts: Counts, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Figure]:
    """How the class means of directions lie to each other, after their common mean is taken off.

    Of a group: the pairs (a, b) with a in it and b any other class, c_ab their cosine, C the classes of two samples or more.

    - ``balancedness``: standard deviation of c_ab over the pairs; 0 where all classes have the same share of the space.
    - ``min_angle``: the smallest angle, in degrees, in [0, 180].
    - ``simplex_max``, ``simplex_rms``: largest and root mean square of |c_ab + 1/(C − 1)|, 0 for a regular simplex, where
      each mean is as far from the others as can be.

    Noise spreads cosines, so these are shifted by the bias that their replicates show; far below the noise they are no more
    than an upper bound. None where there are fewer than two classes. Of more than `WIDEST` classes as many are looked at,
    evenly spaced by their counts.
    """
    x, y, n = clouds(features, labels, counts, "angles")
    sizes = y.bincount(minlength=n.numel())
    kept = torch.zeros_like(n, dtype=torch.bool)
    two = (sizes > 1).nonzero()[:, 0]
    if len(two) < 2:
        return {name: dict.fromkeys(group_masks(n)) for name in FIGURES}
    by_count = two[n[two].argsort(stable=True)]
    kept[by_count[torch.linspace(0, len(two) - 1, min(len(two), WIDEST)).round().long()]] = True
    own = kept[y]
    x, y, n, sizes = unit(x[own]), (kept.cumsum(0) - 1)[y[own]], n[kept], sizes[kept]
    groups = group_masks(n)
    rows: dict[str, dict[str, list[Tensor]]] = {name: {group: [] for group in groups} for name in FIGURES}
    for found in moments(x, y, n.numel(), replicates, seed):
        cosine = _cosines(found, torch.ones_like(n, dtype=torch.bool))
        for group, mask in groups.items():
            for name, values in _of_pairs(cosine, mask).items():
                rows[name][group].append(values)
    of = {group: sizes[mask] for group, mask in groups.items()}
    return {
        name: figure({group: torch.cat(parts) for group, parts in found.items()}, of, unbiased=False)
        for name, found in rows.items()
    }


WIDEST = 1000
"""Classes whose pairs are looked at, at most."""
FIGURES = ("balancedness", "min_angle", "simplex_max", "simplex_rms")


def _of_pairs(cosine: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The figures (r,) of `angles` from cosines (r, C, C), of the pairs that begin in the mask (C,)."""
    classes = len(mask)
    if not bool(mask.any()):
        return dict.fromkeys(FIGURES, cosine.new_full(cosine.shape[:1], torch.nan))
    others = ~torch.eye(classes, dtype=torch.bool)[mask]
    c = cosine[:, mask][:, others]  # (r, pairs)
    off = (c + 1 / (classes - 1)).abs()
    return {
        "balancedness": c.std(1, correction=0),
        "min_angle": c.amax(1).acos().rad2deg(),
        "simplex_max": off.amax(1),
        "simplex_rms": off.square().mean(1).sqrt(),
    }


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
    values = {"drift": 1 - torch.cat(cosine).clamp(-1, 1.5), "drift_in_spread": torch.cat(apart)}
    return {name: class_figure(of, smaller, n) for name, of in values.items()}


def _reduced(x: Tensor, labels: Tensor, classes: int, replicates: int, seed: int) -> Iterator[Moments]:
    """`moments` one weighting at a time, so that two sets of samples go side by side."""
    for found in moments(x, labels, classes, replicates, seed):
        for row in range(len(found.square)):
            yield Moments(*(values[row : row + 1] for values in found))
