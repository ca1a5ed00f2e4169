"""Figures by shot group with bootstrap intervals: what the chance of the samples leaves open, the classes being what they are.

Samples are resampled within their class, and classes never: another test set of the same classes and sizes. A replicate gives
the n samples of a class the weights of a Dirichlet distribution with parameter (n − 2) / n, the Bayesian bootstrap (Rubin,
Annals of Statistics 1981) with its variance made right for small n: that of a weighted mean is s² / n with the unbiased s²,
where ordinary resampling gives (n − 1) / n of it. Weights also let pairs of one sample with itself be left out, which would
make a small class look tight. A class of one or two samples keeps equal weights: what chance does to it is not in the
interval.
An interval lies between percentiles, stretched about the figure by t / 1.96 with Student's t for the samples that it rests on
(after Hesterberg, The American Statistician 2015): percentiles alone are too narrow where those are few. The degrees of
freedom are Welch and Satterthwaite's, so that many samples of one class do not hide how few another has.
Shares of 0/1 values are not resampled, which shows no chance where all agree, but drawn about p = (k + ½) / (n + 1).
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.counts import Counts, as_counts, shot_groups
from tailwise.metrics.given import Numbers, numbers
from tailwise.types import IGNORE, TailwiseError

REPLICATES = 200
"""Resamplings behind an interval."""
LEVEL = 0.95
"""Nominal coverage of an interval, between the two percentiles."""
RESAMPLED = 3
"""Samples of a class from which on it is resampled."""
ANYWHERE = (-math.inf, math.inf)
"""The range of a figure without bounds."""
AT_ONCE = 2**23
"""Numbers that are held beside the data: 64 MiB."""

Interval = dict[str, float | None]
"""``value``, ``low`` and ``high``, and ``classes``: how many it is of. No interval (None) where nothing could be resampled."""
Figure = dict[str, Interval | None]
"""A figure of ``all`` classes and of the ``many``, ``medium`` and ``few``; None for a group where it is not defined."""


def clouds(features: Numbers, labels: Numbers, counts: Counts, what: str) -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, D) float64 and labels (N,) without IGNORE, sorted by class, and the training counts (C,); refuses others."""
    x, y, n = numbers(features, what).detach().cpu(), numbers(labels, what).detach().cpu(), as_counts(counts).cpu()
    if x.ndim != 2 or y.shape != x.shape[:1] or y.is_floating_point():
        raise TailwiseError(
            f"{what}: features {tuple(x.shape)} and labels {tuple(y.shape)} {y.dtype}; give (N, D) features and N class numbers"
        )
    y = y.to(torch.int64)
    kept = y != IGNORE
    x, y = x[kept].double(), y[kept]
    if outside := y[(y < 0) | (y >= n.numel())].tolist():
        raise TailwiseError(f"{what}: label {outside[0]} is outside 0..{n.numel() - 1}; give one training count per class")
    if not bool(x.isfinite().all()):
        raise TailwiseError(f"{what}: features that are not finite; did the training diverge?")
    order = y.argsort(stable=True)
    return x[order], y[order], n


def same_width(first: Tensor, second: Tensor, what: str) -> None:
    """Refuse features (N, D) and (M, E) that are not of one model."""
    if first.shape[1] != second.shape[1]:
        raise TailwiseError(f"{what}: features of {first.shape[1]} and {second.shape[1]} numbers; give those of one model")


def dealt(labels: Tensor, classes: int, seed: int) -> Tensor:
    """(N,) 0, 1, 2, … in a random order within each class, a function of the seed."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = shuffled[labels[shuffled].argsort(stable=True)]
    sizes = labels.bincount(minlength=classes)
    turn = torch.empty_like(order)
    turn[order] = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes)[labels[order]]
    return turn


def unit(x: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays."""
    return F.normalize(x, dim=-1)


def resampled(labels: Tensor, classes: int, replicates: int, seed: int, wide: int = 1) -> Iterator[Tensor]:
    """Weights (r, N) that sum to 1 in each class, in pieces of as many rows as ``wide`` numbers each leave room for.

    The first row of all has equal weights, the figure itself; ``replicates`` random ones follow, the same for a seed whatever
    the pieces.
    """
    sizes = labels.bincount(minlength=classes)
    size = sizes[labels].double()
    shape = torch.where(size < RESAMPLED, 1.0, (size - 2) / size).numpy()
    draw, done = np.random.default_rng(seed), 0
    rows = max(AT_ONCE // max(wide, len(labels), 1), 1)
    while done <= replicates:
        fresh = min(rows, replicates + 1 - done)
        random = fresh - (done == 0)
        drawn = torch.from_numpy(draw.standard_gamma(shape, (random, len(labels)))).clamp(min=1e-300)
        drawn[:, size < RESAMPLED] = 1.0
        weights = torch.cat([torch.ones(fresh - random, len(labels), dtype=torch.float64), drawn])
        yield weights / per_class(weights, labels, classes)[:, labels]
        done += fresh


def per_class(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Sums (r, C) of values (r, N) over the samples of each class."""
    return torch.zeros(len(values), classes, dtype=values.dtype).index_add_(1, labels, values)


def group_masks(counts: Tensor) -> dict[str, Tensor]:
    """Masks (C,) bool of all classes and of the shot groups."""
    return {"all": torch.ones_like(counts, dtype=torch.bool), **shot_groups(counts)}


def figure(
    rows: Mapping[str, Tensor],
    sizes: Mapping[str, Tensor],
    unbiased: bool = True,
    within: tuple[float, float] = ANYWHERE,
    freedom: Mapping[str, float] | None = None,
) -> Figure:
    """From the figure and its replicates (1 + R,) of each group, and the numbers of samples of the classes it is of.

    One that is biased by noise, such as a largest of many, is shifted by its bias, which is how far its replicates lie from
    it; that is itself a guess, so the interval reaches from no shift to twice the shift. ``low`` ≤ ``value`` ≤ ``high``, all
    in the range ``within`` which the figure can have. Without ``freedom``, of Student's t, the variance that a class adds is
    taken to go as 1 / n.
    """
    found: Figure = {}
    for group, values in rows.items():
        if not sizes[group].numel() or not bool(values[0].isfinite()):
            found[group] = None
            continue
        value, drawn = float(values[0]), values[1:][values[1:].isfinite()]
        several = sizes[group][sizes[group] >= RESAMPLED]
        low = high = None
        if drawn.numel() and several.numel():
            bias = 0.0 if unbiased else float(drawn.mean()) - value
            ends = drawn.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=drawn.dtype)) - 2 * bias
            ends += torch.tensor([-abs(bias), abs(bias)], dtype=drawn.dtype)
            value -= bias
            stretch = _stretch(freedom[group] if freedom else _freedom(1 / several, several))
            low, high = (value + stretch * (ends - value)).tolist()
            low, high = min(low, value), max(high, value)
        told = {"value": value, "low": low, "high": high}
        clamped = {name: None if end is None else min(max(end, within[0]), within[1]) for name, end in told.items()}
        found[group] = {**clamped, "classes": int(sizes[group].numel())}
    return found


def _freedom(variances: Tensor, sizes: Tensor) -> float:
    """Welch and Satterthwaite's degrees of freedom (Σ v)² / Σ v² / (n − 1) of a sum of classes with variances v (C,)."""
    several = sizes >= RESAMPLED
    v, n = variances[several].double(), sizes[several]
    total = float(v.sum())
    return total**2 / float((v.square() / (n - 1)).sum()) if total > 0 else math.inf


def _stretch(freedom: float) -> float:
    """Student's t over z at 95 %: the first terms of Fisher's expansion."""
    z = 1.96
    return 1 + (z**2 + 1) / (4 * freedom) + (5 * z**4 + 16 * z**2 + 3) / (96 * freedom**2)


def class_figure(values: Tensor, sizes: Tensor, counts: Tensor, within: tuple[float, float] = ANYWHERE) -> Figure:
    """From values of classes (1 + R, C), NaN where undefined: means over the defined classes of each group."""
    defined = values[0].isfinite()
    kept = {name: mask & defined for name, mask in group_masks(counts).items()}
    rows = {name: values[:, mask].nanmean(1) for name, mask in kept.items()}
    variance = (values[1:] - values[1:].nanmean(0)).square().nanmean(0).nan_to_num()
    freedom = {name: _freedom(variance[mask], sizes[mask]) for name, mask in kept.items()}
    return figure(rows, {name: sizes[mask] for name, mask in kept.items()}, within=within, freedom=freedom)


def sample_figure(
    values: Tensor,
    labels: Tensor,
    counts: Tensor,
    replicates: int = REPLICATES,
    seed: int = 0,
    within: tuple[float, float] = ANYWHERE,
    shares: bool = False,
) -> Figure:
    """The mean over classes of the means of values (N,) of samples; a class with an undefined sample is undefined.

    ``shares``: the values are 0 or 1, such as hits.
    """
    means, sizes = _class_means(values, labels, counts.numel(), replicates, seed, shares)
    return class_figure(means, sizes, counts, (0.0, 1.0) if shares else within)


def gap_figure(
    values: Tensor,
    labels: Tensor,
    others: Tensor,
    other_labels: Tensor,
    counts: Tensor,
    replicates: int = REPLICATES,
    seed: int = 0,
    shares: bool = False,
) -> Figure:
    """As `sample_figure`, the mean of a class's values (N,) less that of its ``others`` (M,), as of train and test.

    Both are resampled. A class without samples on a side is undefined.
    """
    means, sizes = _class_means(values, labels, counts.numel(), replicates, seed, shares)
    other_means, other_sizes = _class_means(others, other_labels, counts.numel(), replicates, seed + 1, shares)
    smaller = torch.minimum(sizes, other_sizes)
    return class_figure(means - other_means, smaller, counts, (-1.0, 1.0) if shares else ANYWHERE)


def _class_means(
    values: Tensor, labels: Tensor, classes: int, replicates: int, seed: int, shares: bool
) -> tuple[Tensor, Tensor]:
    """Means (1 + R, C) of the values of each class, NaN for one without samples, and how many samples each has."""
    sizes = labels.bincount(minlength=classes)
    if shares:
        return _class_shares(per_class(values[None], labels, classes)[0], sizes, replicates, seed), sizes
    parts = [per_class(w * values, labels, classes) for w in resampled(labels, classes, replicates, seed)]
    return torch.where(sizes > 0, torch.cat(parts), torch.nan), sizes


def _class_shares(hits: Tensor, sizes: Tensor, replicates: int, seed: int) -> Tensor:
    """Shares (1 + R, C) of k hits (C,) among n samples: k / n, and draws about it with the chance of p = (k + ½) / (n + 1).

    They are of the Beta distribution with mean p and variance p (1 − p) / n, moved to the mean k / n: not moved, classes would
    all lean to ½, and their mean with them.
    """
    share = hits / sizes
    drawn = (sizes >= RESAMPLED) & share.isfinite()
    n = torch.where(drawn, sizes, RESAMPLED).double()
    p = (torch.where(drawn, hits, 0.0) + 0.5) / (n + 1)
    a, b = (p * (n - 1)).numpy(), ((1 - p) * (n - 1)).numpy()
    beta = torch.from_numpy(np.random.default_rng(seed).beta(a, b, (replicates, len(n))))
    return torch.cat([share[None], share + torch.where(drawn, beta - p, 0.0)])
