"""Single samples among class means and among each other: nearest means, margins, alignment and uniformity.

Features are taken as directions z / |z|. Intervals (`tailwise.metrics.bootstrap`) are over the samples that are judged; the
means that they are compared with stay as they are.
"""

import torch
from torch import Tensor

from tailwise.counts import Counts, as_counts, with_aliases
from tailwise.metrics.bootstrap import (
    ANYWHERE,
    AT_ONCE,
    REPLICATES,
    Figure,
    class_figure,
    clouds,
    dealt,
    figure,
    group_masks,
    resampled,
    same_width,
    sample_figure,
    unit,
)
from tailwise.metrics.given import Numbers, numbers

QUANTILE = 0.1
"""The margin of a class is the one that this share of its samples stays below; fewer than ten samples have none."""
PAIRED = 2048
"""Samples whose pairs are all looked at; of more, equal shares of the classes."""


def margins(x: Tensor, labels: Tensor, means: Tensor) -> Tensor:
    """z·m_y − max_{j≠y} z·m_j (N,) in [−2, 2] for directions (N, D) and m (C, D), or (N, D) own and (C, D) other ones.

    NaN where a class has no mean, which is a row of zeros. Time is O(N C D), memory bounded.
    """
    there = means.norm(dim=1) > 0
    found = []
    for rows in torch.split(torch.arange(len(x)), max(AT_ONCE // max(len(means), 1), 1)):
        scores = (x[rows] @ means.T).masked_fill(~there, -torch.inf)
        own = scores.gather(1, labels[rows, None])[:, 0]
        found.append(own - scores.scatter(1, labels[rows, None], -torch.inf).amax(1))
    margin = torch.cat(found) if found else x.new_zeros(0)
    return torch.where(margin.isfinite(), margin, torch.nan)


@with_aliases
def nearest_mean(
    train_features: Numbers,
    train_labels: Numbers,
    counts: Counts,
    features: Numbers | None = None,
    labels: Numbers | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Figure]:
    """Samples told by the nearest class mean of the training samples, in cosine.

    Without ``features`` and ``labels`` the training samples themselves are judged, each by a mean of its class that it is not
    part of; then a class of one sample is undefined.

    - ``nearest_mean``: mean recall, in [0, 1].
    - ``margin``: 10th percentile over the samples of a class of cos(z, μ_y) − max_{j≠y} cos(z, μ_j), in [−2, 2]; above 0
      where at least 90 % of the class are nearest to their own mean. Of classes of ten samples or more.
    """
    x, y, n = clouds(train_features, train_labels, counts, "nearest mean")
    x = unit(x)
    sums = torch.zeros(n.numel(), x.shape[1], dtype=x.dtype).index_add_(0, y, x)
    if features is None or labels is None:
        judged, truth = x, y
        margin = margins(x, y, unit(sums))
        # the own mean without the sample; other means do not have it anyway
        own = (x * unit(sums)[y]).sum(1)
        without = (x * unit(sums[y] - x)).sum(1)
        alone = y.bincount(minlength=n.numel())[y] < 2
        margin = torch.where(alone, torch.nan, margin - own + without)
    else:
        judged, truth, _ = clouds(features, labels, counts, "nearest mean")
        same_width(x, judged, "nearest mean")
        margin = margins(unit(judged), truth, unit(sums))
    right = torch.where(margin.isnan(), torch.nan, (margin > 0).double())
    return {
        "nearest_mean": sample_figure(right, truth, n, replicates, seed, shares=True),
        "margin": quantile_figure(margin, truth, n, QUANTILE, replicates, seed, within=(-2.0, 2.0)),
    }


def quantile_figure(
    values: Tensor,
    labels: Tensor,
    counts: Tensor,
    share: float,
    replicates: int,
    seed: int,
    within: tuple[float, float] = ANYWHERE,
) -> Figure:
    """The mean over classes of a quantile of values (N,), sorted by class: the least that ``share`` lie at or below.

    A class of fewer than 1 / ``share`` samples is left out: its lowest value says nothing of so small a share.
    """
    classes = counts.numel()
    sizes = labels.bincount(minlength=classes)
    order = torch.cat([part + start for part, start in _sorted(values, sizes)]) if len(values) else labels
    values = values[order]  # sorted within each class
    parts = []
    for w in resampled(labels, classes, replicates, seed):
        row = values.new_full((len(w), classes), torch.nan)
        weights, end = w[:, order], 0
        for c, n in enumerate(sizes.tolist()):
            if n:
                total = weights[:, end : end + n].cumsum(1)
                at = (total < share - 1e-9).sum(1).clamp(max=n - 1)
                row[:, c] = values[end + at]
            end += n
        parts.append(row)
    rows = torch.where(sizes * share >= 1 - 1e-9, torch.cat(parts), torch.nan)
    return class_figure(rows, sizes, counts, within)


def _sorted(values: Tensor, sizes: Tensor) -> list[tuple[Tensor, int]]:
    """For each class with samples: their order by value, and where they begin."""
    starts = (sizes.cumsum(0) - sizes).tolist()
    return [(values[a : a + n].argsort(), a) for a, n in zip(starts, sizes.tolist(), strict=True) if n]


@with_aliases
def alignment(
    first: Numbers, second: Numbers, labels: Numbers, counts: Counts, replicates: int = REPLICATES, seed: int = 0
) -> Figure:
    """Mean |z − z'|² of two views of the same samples, (N, D) each, in [0, 4]: 0 where augmentation moves nothing.

    Wang and Isola, ICML 2020, with α = 2.
    """
    x, y, n = clouds(torch.cat([numbers(v, "alignment") for v in (first, second)], 1), labels, counts, "alignment")
    a, b = x.chunk(2, 1)
    return sample_figure((unit(a) - unit(b)).square().sum(1), y, n, replicates, seed, within=(0.0, 4.0))


@with_aliases
def uniformity(features: Numbers, labels: Numbers, counts: Counts, replicates: int = REPLICATES, seed: int = 0) -> Figure:
    """log of the mean of e^{−2|z − z'|²} over pairs of different samples of a group, its classes weighted alike, in [−8, 0].

    The lower, the more evenly the group's features fill the sphere: 0 where they are one point, and −4 or a little more for
    the uniform distribution in many dimensions. Wang and Isola, ICML 2020, with t = 2. Of more than `PAIRED` samples as many
    are looked at.
    """
    x, y, n = clouds(features, labels, counts, "uniformity")
    kept = evenly(y, as_counts(counts).numel(), PAIRED)
    x, y = unit(x[kept]), y[kept]
    kernel = (4 * (x @ x.T) - 4).clamp(max=0).exp_()  # |z − z'|² = 2 − 2 z·z'
    sizes = y.bincount(minlength=n.numel())
    groups = {group: mask & (sizes > 0) for group, mask in group_masks(n).items()}
    rows: dict[str, list[Tensor]] = {group: [] for group in groups}
    for w in resampled(y, n.numel(), replicates, seed):
        whole, within = _within(kernel, w, sizes)
        for group, mask in groups.items():
            own, pairs = mask[y], int(mask.sum()) ** 2 - int((mask & (sizes < 2)).sum())
            between = ((w[:, own] @ kernel[own][:, own]) * w[:, own]).sum(1) - whole[:, mask].sum(1)
            rows[group].append(((between + within[:, mask].sum(1)) / pairs).log())
    enough = {group: sizes[mask] if int(sizes[mask].sum()) > 1 else sizes[:0] for group, mask in groups.items()}
    return figure({group: torch.cat(parts) for group, parts in rows.items()}, enough, within=(-8.0, 0.0))


def _within(kernel: Tensor, w: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Σ w_i w_j k_ij (r, C) over the pairs of each class, and the mean over pairs of different samples, 0 for one sample."""
    whole, within, end = w.new_zeros(len(w), len(sizes)), w.new_zeros(len(w), len(sizes)), 0
    for c, n in enumerate(sizes.tolist()):
        v = w[:, end : end + n]
        square = v.square().sum(1)
        whole[:, c] = ((v @ kernel[end : end + n, end : end + n]) * v).sum(1)
        if n > 1:
            within[:, c] = (whole[:, c] - square) / (1 - square)
        end += n
    return whole, within


def evenly(labels: Tensor, classes: int, limit: int) -> Tensor:
    """At most ``limit`` of the samples, sorted: as equal shares of the classes as their sizes allow, always the same ones."""
    return (dealt(labels, classes, 0) * classes + labels).argsort()[:limit].sort().values
