"""Calibration on held-out samples: a temperature, or a scale and a bias for each class, fitted to log probabilities.

The logits stand for a uniform prior, the samples have class shares of their own: these are added for the fit, and left
out of what is fitted, so that every sample counts the same and no class has to be weighted.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tailwise.types import TailwiseError

FOLDS = 5
SCALES, BIASES = 0.1, 1.0
"""Prior standard deviations of each class's own log scale and bias in vector scaling; that of log T is 1."""
ENOUGH, SURE = 10, 2
"""Samples per class, on average, below which vector scaling is not trusted; and what it takes to distrust it with more."""
AT_ONCE, SEED = 2**22, 0
"""Logits that are read at most: more are thinned out, common classes first; and the seed of which samples stay."""


class Calibration(NamedTuple):
    """``log p'_c ∝ scale_c · log p_c + bias_c``, where p is a softmax."""

    method: str  # "identity", "temperature" or "vector"
    scale: Tensor  # () or (C,) float64, above 0; a temperature T is the scale 1/T
    bias: Tensor  # () or (C,) float64

    def __call__(self, logits: Tensor) -> Tensor:
        """Calibrated log probabilities (..., C) float64 of logits (..., C); −inf stays −inf."""
        wide = logits.double().log_softmax(-1)
        return (wide * self.scale + self.bias).log_softmax(-1)


IDENTITY = Calibration("identity", torch.tensor(1.0).double(), torch.tensor(0.0).double())


def stated(about: Mapping[str, Any]) -> Calibration:
    """What a run's ``model.json`` says of its calibration: ``method``, ``scale``, ``bias``; `IDENTITY` where it has none."""
    if not (given := about.get("calibration")):
        return IDENTITY
    scale, bias = (torch.tensor(given[key], dtype=torch.float64) for key in ("scale", "bias"))
    return Calibration(given["method"], scale, bias)


Method = Callable[[Tensor, Tensor, Tensor], Calibration]


def log_shares(labels: Tensor, classes: int, weights: Tensor | None = None) -> Tensor:
    """log of the class shares (C,) float64 of labels (N,) with ``weights`` (N,); −inf for a class that does not occur."""
    counts = labels.bincount(weights, minlength=classes).double()
    return (counts / counts.sum()).log()


def temperature(logits: Tensor, labels: Tensor, shares: Tensor) -> Calibration:
    """One scale 1/T for all classes (Guo et al., ICML 2017).

    Minimises ``−Σ log softmax(log p_i / T + shares)_{y_i} + (log T)² / 2`` by L-BFGS: log T is 0 ± 1 before any sample is
    seen, so that T stays finite where every sample is right.

    ``logits`` (N, C) free of any prior, ``labels`` (N,) int64, ``shares`` (C,): `log_shares` of the samples.
    """
    (log_scale,) = _fit(logits, labels, shares, lambda u: (u.exp(), 0.0), [torch.zeros(())], [1.0])
    return Calibration("temperature", log_scale.exp(), torch.zeros(()).double())


def vector(logits: Tensor, labels: Tensor, shares: Tensor) -> Calibration:
    """A scale and a bias for each class: vector scaling (Guo et al., ICML 2017), of log probabilities.

    These, unlike logits, have no free constant that the scales would turn into a tilt (Kull et al., NeurIPS 2019). Scales
    are ``e^{u + u_c}``; u, u_c and the biases b_c have normal priors around 0 of standard deviations 1, `SCALES` and `BIASES`,
    so a class without samples has the common scale and no bias. The scales are held close together, as it is the biases
    that estimates of class shares need (Alexandari, Kundaje and Shrikumar, ICML 2020). Arguments as of `temperature`.
    """
    start = [torch.zeros(()), *torch.zeros(2, logits.shape[1])]
    common, own, bias = _fit(logits, labels, shares, lambda u, own, b: ((u + own).exp(), b), start, [1.0, SCALES, BIASES])
    return Calibration("vector", (common + own).exp(), bias)


def _fit(
    logits: Tensor,
    labels: Tensor,
    shares: Tensor,
    make: Callable[..., tuple[Tensor, Tensor | float]],
    start: list[Tensor],
    spread: list[float],
) -> list[Tensor]:
    """The parameters of highest posterior probability; ``make`` turns them into scale and bias."""
    wide = logits.double().log_softmax(-1)
    parameters = [value.double().requires_grad_() for value in start]
    steps = torch.optim.LBFGS(parameters, max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        steps.zero_grad()
        scale, bias = make(*parameters)
        own = (wide * scale + bias + shares).log_softmax(-1).gather(1, labels[:, None])
        penalty = torch.stack([(p**2).sum() / (2 * s**2) for p, s in zip(parameters, spread, strict=True)]).sum()
        value = (penalty - own.sum()) / len(labels)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        steps.step(loss)  # type: ignore[no-untyped-call]
    return [parameter.detach() for parameter in parameters]


def choose(logits: Tensor, labels: Tensor, absent: Tensor | None = None) -> tuple[Calibration, dict[str, float]]:
    """The identity, a temperature or vector scaling, by how well it predicts held-out samples; and the losses that decided it.

    Each fifth of the samples, taken in turns from every class, is predicted by what the other four gave; the loss is the
    mean of −log p_y over samples, at their class shares. With `ENOUGH` samples a class vector scaling is taken, unless it is
    worse than another by more than `SURE` standard errors of the difference: its priors hold it near the others, the loss
    hardly sees rare classes, and estimates of class shares need the biases. Else it is the better of the others.

    ``absent`` (C,) bool: classes that are never predicted; samples of theirs are left out. Of more than `AT_ONCE` logits
    some samples are left out too, see `thinned`. With fewer than two samples or classes nothing can be fitted: the
    identity, without losses. Raises `TailwiseError` for other logits that are not finite.
    """
    classes = logits.shape[1]
    present = torch.ones(classes, dtype=torch.bool) if absent is None else ~absent
    usable = present[labels].nonzero()[:, 0]
    kept, shares = thinned((present.cumsum(0) - 1)[labels[usable]], int(present.sum()), max(AT_ONCE // classes, 1))
    labels, logits = (present.cumsum(0) - 1)[labels[usable[kept]]], logits[usable[kept]][:, present]
    if min(logits.shape[1], int((labels.bincount() > 0).sum())) < 2:
        return IDENTITY, {}
    if not bool(logits.isfinite().all()):
        raise TailwiseError("calibrate: some validation logits are not finite; the model diverged, train it again")
    fold = (turn(labels) + labels) % FOLDS  # by class too, so that single samples spread out
    losses = {"identity": _losses(IDENTITY, logits, labels, shares)}
    methods: dict[str, Method] = {"temperature": temperature, "vector": vector}
    for name, method in methods.items():
        losses[name] = torch.zeros(len(labels)).double()
        for held in (fold == f for f in range(FOLDS)):
            made = IDENTITY if bool(held.all()) else method(logits[~held], labels[~held], shares)
            losses[name][held] = _losses(made, logits[held], labels[held], shares)
    totals = {name: float(values.mean()) for name, values in losses.items()}
    best = min(("identity", "temperature"), key=totals.__getitem__)
    more = losses["vector"] - losses[best]
    if len(labels) >= ENOUGH * logits.shape[1] and float(more.mean()) <= SURE * float(more.std()) / len(labels) ** 0.5:
        best = "vector"
    made = methods[best](logits, labels, shares) if best in methods else IDENTITY
    return _widened(made, present), totals


def thinned(labels: Tensor, classes: int, most: int) -> tuple[Tensor, Tensor]:
    """Which samples to keep of labels (N,), and log of the class shares (C,) float64 that the kept ones are expected to have.

    At most so many: the first turn is a random sample of each class, the second another one of each that has it, and so on;
    of the turn that does not fit whole, a random part. So common classes are thinned out first, and no class that has
    samples gets the share 0, with or without a sample that was kept.
    """
    mixed = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED))
    turns = turn(labels[mixed])
    before = torch.cat([torch.zeros(1, dtype=torch.int64), turns.bincount().cumsum(0)])
    chance = ((most - before[:-1]) / before.diff()).clamp(0, 1).double()[turns]
    return mixed[turns.argsort(stable=True)[:most]].sort().values, log_shares(labels[mixed], classes, chance)


def turn(labels: Tensor) -> Tensor:
    """(N,) int64: how many samples of the same class come before each."""
    order = labels.argsort(stable=True)
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    turns = torch.empty_like(labels)
    turns[order] = torch.arange(len(labels)) - starts[labels[order]]
    return turns


def _losses(calibration: Calibration, logits: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    return -(calibration(logits) + shares).log_softmax(-1).gather(1, labels[:, None])[:, 0]


def _widened(calibration: Calibration, present: Tensor) -> Calibration:
    """With entries for classes that are absent, which change nothing: 1 and 0."""
    if calibration.scale.ndim == 0:
        return calibration
    scale, bias = torch.ones(len(present)).double(), torch.zeros(len(present)).double()
    scale[present], bias[present] = calibration.scale, calibration.bias
    return Calibration(calibration.method, scale, bias)
