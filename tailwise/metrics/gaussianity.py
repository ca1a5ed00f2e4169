"""Whether the cloud of a class is one Gaussian, asked in the same way of classes with many samples and with few.

A test of normality says more of the number of samples than of their shape, and none works where dimensions outnumber samples.
So every class is asked with random subsets of the same size m, drawn without replacement, each cut into halves A and B:

- A gives the p = 2 leading principal axes, B is projected on them and whitened by its own covariance. Given A, projections of
  Gaussian samples are Gaussian whatever their mean, covariance and D, so what is expected depends on m and p alone.
- Henze and Zirkler's statistic (Communications in Statistics 1990) compares B's characteristic function with the Gaussian one
  and sees any departure; it is given in standard deviations above what Gaussian samples of that size have. Mardia's
  kurtosis says of which kind: above 0 heavy tails or outliers, below 0 several lumps or a flat cloud.
- The likelihood of B under A: one isotropic Gaussian of the class against a mixture of one Gaussian on every sample of A,
  which is what a contrastive loss with keys assumes, all with one bandwidth that is learned over all classes by leaving one
  out.

A class of n samples has the mean over its R subsets. It is a U-statistic of degree m, whose variance is at most m / n of that
of one subset (Hoeffding 1948), hence at most m / (n − m) of the variance among subsets of these n: subsets shrunk by its
square root give the intervals, which are so wide or wider than they need be. A class of fewer than m samples is left out; one
of exactly m has no interval.
"""

import math
from functools import cache

import torch
from torch import Tensor

from tailwise.counts import Counts, with_aliases
from tailwise.metrics.bootstrap import ANYWHERE, REPLICATES, Figure, clouds, figure, group_masks
from tailwise.metrics.given import Numbers
from tailwise.types import TailwiseError

SIZE = 40
"""Samples of a subset, where nothing is said."""
AXES = 2
"""p, principal axes that are looked at."""
HELD = 1000
"""Samples of a class that are looked at, at most."""
SEARCHED = 8
"""Subsets of a class from which the bandwidth is learned."""
SIMULATED = 4000
"""Gaussian samples behind what is expected."""
NAMES = ("henze_zirkler", "kurtosis", "kernel_gain", "anisotropy")


@with_aliases
def gaussianity(
    features: Numbers, labels: Numbers, counts: Counts, size: int = SIZE, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Figure]:
    """The shape of class clouds (N, D), D ≥ 2, from subsets of ``size`` = m samples, even and at least 12.

    - ``henze_zirkler``: in standard deviations above the mean of Gaussian samples; 0 for a Gaussian class.
    - ``kurtosis``: Mardia's, b / E[b] − 1 with E[b] = p(p + 2)(n − 1)/(n + 1) of n = m/2 Gaussian samples; 0 for a Gaussian
      class.
    - ``kernel_gain``: held-out log-likelihood under the mixture of kernels minus that under the class's isotropic Gaussian,
      in nats per dimension: down to −½ log 2 where a class is one round Gaussian in many dimensions, above 0 where it is not.
    - ``anisotropy``: D tr Σ² / (tr Σ)², both unbiased for Gaussian samples: 1 where Σ is isotropic, D where it is one line.
      On the sphere a von Mises-Fisher class has D / (D − 1).

    Raises `TailwiseError` for another size, and for features of one number.
    """
    if size < 12 or size % 2:
        raise TailwiseError(f"gaussianity: size must be even and at least 12, got {size}")
    x, y, n = clouds(features, labels, counts, "gaussianity")
    if x.shape[1] < AXES:
        raise TailwiseError("gaussianity: features of one number; give vectors")
    sizes = y.bincount(minlength=n.numel())
    starts = sizes.cumsum(0) - sizes
    draw = torch.Generator().manual_seed(seed)
    drawn: dict[int, tuple[Tensor, Tensor]] = {}
    for c in (sizes >= size).nonzero()[:, 0].tolist():
        own = x[starts[c] : starts[c] + sizes[c]]
        own = own[torch.randperm(len(own), generator=draw)[:HELD]]
        own = own - own.mean(0)
        subsets = torch.rand(replicates, len(own), generator=draw).argsort(1)[:, :size]
        drawn[c] = (own @ own.T, subsets)
    bandwidth = _bandwidth(drawn, x.shape[1])
    found = {c: _of_class(gram, subsets, x.shape[1], bandwidth) for c, (gram, subsets) in drawn.items()}
    figures, ranges = {}, {"kurtosis": (-1.0, math.inf), "anisotropy": (1.0, float(x.shape[1]))}
    for name in NAMES:
        values = x.new_full((1 + replicates, n.numel()), torch.nan)
        for c, told in found.items():
            values[:, c] = _shrunk(told[name], size, len(drawn[c][0]))
        figures[name] = _figure(values, sizes, n, ranges.get(name, ANYWHERE))
    return figures


def _shrunk(values: Tensor, size: int, n: int) -> Tensor:
    """The mean of the subsets' values (R,), and they themselves, drawn towards it as the module says: (1 + R,)."""
    mean = values.nanmean()
    factor = (size / (n - size)) ** 0.5 if n > size else 0.0
    return torch.cat([mean[None], mean + factor * (values - mean)])


def _figure(values: Tensor, sizes: Tensor, counts: Tensor, within: tuple[float, float]) -> Figure:
    """As `tailwise.metrics.bootstrap.class_figure`; no interval where no class has more than one subset."""
    kept = {name: mask & values[0].isfinite() for name, mask in group_masks(counts).items()}
    varied = values[1:].nan_to_num().var(0) > 0 if len(values) > 2 else torch.zeros_like(sizes, dtype=torch.bool)
    rows = {name: values[:, mask].nanmean(1) for name, mask in kept.items()}
    return figure(rows, {name: torch.where(varied, sizes, 0)[mask] for name, mask in kept.items()}, within=within)


def _of_class(gram: Tensor, subsets: Tensor, dim: int, bandwidth: float) -> dict[str, Tensor]:
    """The four figures of every subset (R,), from the products (n, n) of a class's samples."""
    k = gram[subsets[:, :, None], subsets[:, None, :]]  # (R, m, m)
    m, h = k.shape[1], k.shape[1] // 2
    a, ba = k[:, :h, :h], k[:, h:, :h]
    centred = _centred(a)
    axes = torch.linalg.eigh(centred).eigenvectors[:, :, -AXES:]
    places = (ba - ba.mean(2, keepdim=True)) @ (axes - axes.mean(1, keepdim=True))
    hz, kurtosis = _shape(places)
    expected, deviation = _expected(m - h, AXES)
    mean, trace = ba.mean(2), centred.diagonal(dim1=1, dim2=2).sum(1) / (h - 1)
    length = k.diagonal(dim1=1, dim2=2)
    to_mean = length[:, h:] - 2 * mean + a.mean((1, 2))[:, None]
    variance = (trace / dim * (1 + 1 / h)).clamp(min=1e-300)[:, None]  # of a new sample about the mean of h
    one = -(variance.log() + to_mean / (variance * dim)) / 2
    apart = length[:, h:, None] + length[:, None, :h] - 2 * ba
    kernels = (-apart / (2 * bandwidth)).logsumexp(2) / dim - torch.tensor(h).log() / dim - torch.tensor(bandwidth).log() / 2
    whole = _centred(k)
    total = whole.diagonal(dim1=1, dim2=2).sum(1) / (m - 1)
    seen = whole.square().sum((1, 2)) / (m - 1) ** 2
    square = (m - 1) ** 2 / ((m - 2) * (m + 1)) * (seen - total.square() / (m - 1))
    squared_total = total.square() - 2 * square / (m - 1)
    point = total <= 1e-12 * gram.diagonal().max().clamp(min=1e-300)
    values = {
        "henze_zirkler": (hz - expected) / deviation,
        "kurtosis": kurtosis,
        "kernel_gain": (kernels - one).mean(1),
        "anisotropy": dim * square / squared_total,
    }
    return {name: torch.where(point | ~value.isfinite(), torch.nan, value) for name, value in values.items()}


def _centred(k: Tensor) -> Tensor:
    """Products (R, m, m) of samples less their mean."""
    return k - k.mean(1, keepdim=True) - k.mean(2, keepdim=True) + k.mean((1, 2), keepdim=True)


def _shape(places: Tensor) -> tuple[Tensor, Tensor]:
    """Henze and Zirkler's statistic and Mardia's relative excess kurtosis of samples (R, n, p): (R,) each."""
    _, n, p = places.shape
    centred = places - places.mean(1, keepdim=True)
    covariance = centred.mT @ centred / n
    inverse, wrong = torch.linalg.inv_ex(covariance)
    products = centred @ inverse @ centred.mT
    length = products.diagonal(dim1=1, dim2=2)
    apart = (length[:, :, None] + length[:, None] - 2 * products).clamp(min=0)
    b = ((2 * p + 1) * n / 4) ** (2 / (p + 4)) / 2  # β²
    pairs = (-b / 2 * apart).exp().sum((1, 2)) / n
    single = 2 * (1 + b) ** (-p / 2) * (-b / (2 * (1 + b)) * length).exp().sum(1)
    hz = pairs - single + n * (1 + 2 * b) ** (-p / 2)
    kurtosis = length.square().mean(1) / (p * (p + 2) * (n - 1) / (n + 1)) - 1
    broken = (wrong != 0) | ((length.sum(1) - n * p).abs() > 1e-3 * n * p)  # Σ of squared Mahalanobis lengths is n p
    return torch.where(broken, torch.nan, hz), torch.where(broken, torch.nan, kurtosis)


@cache
def _expected(n: int, p: int) -> tuple[float, float]:
    """Mean and standard deviation of Henze and Zirkler's statistic of n Gaussian samples in p dimensions, simulated."""
    samples = torch.randn(SIMULATED, n, p, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hz, _ = _shape(samples)
    return float(hz.mean()), float(hz.std())


def _bandwidth(drawn: dict[int, tuple[Tensor, Tensor]], dim: int) -> float:
    """The one variance of all kernels, that of the largest mean log-likelihood of A's samples left out, classes alike."""
    apart = []
    for gram, subsets in drawn.values():
        some = subsets[:SEARCHED, : subsets.shape[1] // 2]
        k = gram[some[:, :, None], some[:, None, :]]
        length = k.diagonal(dim1=1, dim2=2)
        apart.append(length[:, :, None] + length[:, None] - 2 * k)
    if not apart:
        return 1.0
    squares = torch.cat(apart)
    squares.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    usual = float(squares[squares.isfinite()].mean()) / (2 * dim)
    grid = max(usual, 1e-12) * torch.logspace(-2, 1, 40, dtype=torch.float64)
    likelihood = [float((-squares / (2 * v)).logsumexp(2).mean() - dim / 2 * v.log()) for v in grid]
    return float(grid[torch.tensor(likelihood).argmax()])
