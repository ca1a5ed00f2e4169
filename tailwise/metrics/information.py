"""How much features tell: of the label, and of the very sample; lower bounds of mutual information, in nats.

Both are bounds for any probe and any critic, and what is learned is never judged on the samples it was learned from, so they
exceed the truth by chance alone. Intervals (`tailwise.metrics.bootstrap`) are over the judged samples, probe and critic as
they were learned.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.counts import Counts, with_aliases
from tailwise.metrics.bootstrap import AT_ONCE, REPLICATES, Figure, clouds, dealt, same_width, sample_figure, unit
from tailwise.metrics.given import Numbers, numbers
from tailwise.types import TailwiseError

FOLDS = 2
"""Parts of the samples, each judged by a probe of the others."""
WIDE = 256
"""Dimensions that a probe reads: of more, the leading principal axes."""
DECAYS = (1e-1, 1e-2, 1e-3, 1e-4)
"""Weight decays that are tried, one after another."""
STEPS = 30
"""Steps of L-BFGS for each of them."""
SOFTENED = tuple(i / 16 for i in range(33))
"""What the logits may be multiplied by; 0 is a probe that knows nothing."""


class Information(NamedTuple):
    """A lower bound and what it cannot exceed."""

    nats: Figure
    share: Figure  # of the ceiling
    ceiling: float  # in nats
    samples: int  # N


@with_aliases
def label_information(
    features: Numbers,
    labels: Numbers,
    counts: Counts,
    judged_features: Numbers | None = None,
    judged_labels: Numbers | None = None,
    folds: int = FOLDS,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Information:
    """I(Z; Y) ≥ H(Y) − E[−log q(y|z)] with Y uniform over the C classes that are judged, so H(Y) = log C, the ceiling.

    q is a linear probe: logistic regression by L-BFGS on standardised features, classes weighted alike, its weight decay and
    the scale of its logits chosen on a fifth of its own samples. Without ``judged_features`` it is cross-fitted: the samples
    of each class are dealt out to ``folds`` parts, each judged by a probe of the rest; a class with fewer samples than that
    is left out. With them it is learned on ``features`` alone; a class without any is judged too, the probe giving it what it
    learned.

    The figure of a group is the mean over its classes of log C + E[log q(y|z)], so the groups, each as heavy as it has
    classes, average to the whole; unlike the whole, a group's may lie below 0: what the probe says for other classes is its
    loss.
    """
    x, y, n = clouds(features, labels, counts, "label information")
    classes = n.numel()
    if folds < 2:
        raise TailwiseError(f"label information: at least two folds are needed, got {folds}")
    if judged_features is None or judged_labels is None:
        sizes = y.bincount(minlength=classes)
        kept = sizes[y] >= folds
        x, truth = x[kept], y[kept]
        part = dealt(truth, classes, seed) % folds
        told = torch.full((len(truth),), torch.nan, dtype=torch.float64)
        names, inner = torch.unique(truth, return_inverse=True)
        for fold in range(folds if len(names) else 0):
            rest = part != fold
            told[~rest] = _fitted(x[rest], inner[rest], len(names)).told(x[~rest], inner[~rest])
    else:
        z, truth, _ = clouds(judged_features, judged_labels, counts, "label information")
        same_width(x, z, "label information")
        names, both = torch.unique(torch.cat([truth, y[torch.isin(y, truth)]]), return_inverse=True)
        known = torch.isin(y, truth)
        told = _fitted(x[known], both[len(truth) :], len(names)).told(z, both[: len(truth)])
    ceiling = math.log(max(len(names), 1))
    return _information(told + ceiling, truth, n, ceiling, replicates, seed)


def _information(gain: Tensor, labels: Tensor, counts: Tensor, ceiling: float, replicates: int, seed: int) -> Information:
    nats = sample_figure(gain, labels, counts, replicates, seed, within=(-math.inf, ceiling))
    part = gain / ceiling if ceiling else gain * torch.nan
    share = sample_figure(part, labels, counts, replicates, seed, within=(-math.inf, 1.0))
    return Information(nats, share, ceiling, len(labels))


class Probe(NamedTuple):
    """A linear classifier (D, C) of features that are moved and turned first."""

    mean: Tensor
    axes: Tensor  # (D, d)
    weight: Tensor  # (d, C)
    bias: Tensor
    scale: float = 1.0

    def scores(self, x: Tensor) -> Iterator[Tensor]:
        """Log-probabilities of rows (N, D), piece by piece."""
        for rows in torch.split(x, max(AT_ONCE // max(len(self.bias), 1), 1)):
            z = ((rows - self.mean) @ self.axes).float()
            yield ((z @ self.weight + self.bias) * self.scale).log_softmax(1)

    def told(self, x: Tensor, labels: Tensor) -> Tensor:
        """log q(y|z) (N,) float64."""
        parts = [scores.double() for scores in self.scores(x)]
        own = torch.split(labels, [len(part) for part in parts])
        return torch.cat([part.gather(1, y[:, None])[:, 0] for part, y in zip(parts, own, strict=True)] or [x.new_zeros(0)])


def _fitted(x: Tensor, labels: Tensor, classes: int) -> Probe:
    """The probe of samples (N, D), its options chosen on a fifth of every class."""
    if not len(x):
        empty = torch.zeros(x.shape[1], 0, dtype=x.dtype)
        return Probe(x.new_zeros(x.shape[1]), empty, torch.zeros(0, classes), torch.zeros(classes))
    order = labels.argsort(stable=True)
    x, labels = x[order], labels[order]
    held = dealt(labels, classes, 0) % 5 == 4
    if not bool(held.any()):  # fewer than five of every class: one is held out where there are two
        held = dealt(labels, classes, 0) == 1
    if not bool(held.any()):
        return _path(x, labels, classes, DECAYS[:1])[0]._replace(scale=0.0)
    tried = _path(x[~held], labels[~held], classes, DECAYS)
    share = 1.0 / labels[held].bincount(minlength=classes)[labels[held]].double()
    losses = {
        (decay, scale): -float(((probe._replace(scale=scale)).told(x[held], labels[held]) * share).sum() / share.sum())
        for decay, probe in zip(DECAYS, tried, strict=True)
        for scale in SOFTENED
    }
    decay, scale = min(losses, key=lambda key: losses[key])
    return _path(x, labels, classes, DECAYS[: DECAYS.index(decay) + 1])[-1]._replace(scale=scale)


def _path(x: Tensor, labels: Tensor, classes: int, decays: tuple[float, ...]) -> list[Probe]:
    """Probes of falling weight decay, each begun where the one before ended."""
    sizes = labels.bincount(minlength=classes).double()
    share = (1 / sizes.clamp(min=1))[labels]
    share = share / share.sum()
    mean = share @ x
    centred = x - mean
    _, values, axes = torch.linalg.svd(_small(centred, share), full_matrices=False)
    kept = values[:WIDE] > 1e-6 * values[:1].clamp(min=1e-30)
    axes = axes[:WIDE][kept].T
    scale = float((centred @ axes).square().sum(1) @ share) / max(axes.shape[1], 1)
    axes = axes / max(scale, 1e-30) ** 0.5
    z, weights = (centred @ axes).float(), share.float()
    weight, bias = torch.zeros(axes.shape[1], classes, requires_grad=True), torch.zeros(classes, requires_grad=True)
    probes = []
    for decay in decays:
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")

        def loss(optimizer: torch.optim.LBFGS = optimizer, decay: float = decay) -> float:
            optimizer.zero_grad()
            value = (F.cross_entropy(z @ weight + bias, labels, reduction="none") * weights).sum()
            value = value + decay / 2 * weight.square().sum() / classes
            torch.autograd.backward(value)
            return float(value.detach())

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        probes.append(Probe(mean, axes, weight.detach().clone(), bias.detach().clone()))
    return probes


def _small(centred: Tensor, share: Tensor) -> Tensor:
    """Rows with the same principal axes, no more than D."""
    rows = centred * share.sqrt()[:, None]
    return torch.linalg.qr(rows, mode="r").R if len(rows) > rows.shape[1] else rows


TEMPERATURES = torch.logspace(-2.5, 1.5, 41, dtype=torch.float64)
"""That a critic may have."""


@with_aliases
def instance_information(
    first: Numbers,
    second: Numbers,
    labels: Numbers,
    counts: Counts,
    spherical: bool = True,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Information:
    """I(Z; Z') ≥ log N − InfoNCE of two views z_i, z'_i (N, D) of N samples (van den Oord et al., 2018), at most log N.

    E_i log [ e^{f(z_i, z'_i)} / (1/N) Σ_j e^{f(z_i, z'_j)} ] with the critic f = −|z − z'|² / 2T. T is chosen on one half of
    the samples z_i and judged on the other, and the other way round. ``spherical`` features are taken as directions, so that
    f is a cosine over T. A group's figure is of its samples z_i among all N of them, each class of the group weighted alike;
    so the whole is one of classes alike too. Compare figures of the same N only: each is cut off at log N, the ceiling.
    """
    x, y, n = clouds(torch.cat([numbers(v, "instance information") for v in (first, second)], 1), labels, counts, "instances")
    a, b = (unit(v) if spherical else v for v in x.chunk(2, 1))
    usual = 1.0 if spherical else float((a - b).square().mean()) * a.shape[1] or 1.0
    temperatures = TEMPERATURES * usual
    own, total = [], []
    length = b.square().sum(1)
    for rows, same in zip(*(torch.split(v, max(AT_ONCE // max(len(b), 1), 1)) for v in (a, b)), strict=True):
        square = rows.square().sum(1)[:, None] + length - 2 * rows @ b.T
        total.append(torch.stack([(-square / (2 * t)).logsumexp(1) for t in temperatures], 1))
        own.append(-(rows - same).square().sum(1)[:, None] / (2 * temperatures))
    ceiling = math.log(len(y)) if len(y) else 0.0
    gain = torch.cat(own) - torch.cat(total) + ceiling if own else x.new_zeros(0, len(temperatures))
    half = dealt(y, n.numel(), seed) % 2 == 0
    picked = torch.empty(len(y), dtype=torch.float64)
    for learned, judged in ((half, ~half), (~half, half)):
        best = gain[learned].mean(0).argmax() if bool(learned.any()) else 0
        picked[judged] = gain[judged, best]
    return _information(picked, y, n, ceiling, replicates, seed)
