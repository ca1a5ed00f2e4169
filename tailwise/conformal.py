"""What held-out samples promise about new ones: prediction sets that hold the true class, and images like no class.

V held-out samples, N inputs, C classes. Log probabilities are those of a uniform prior, before calibration: fitted to
nothing that is counted here.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tailwise.counts import shot_groups
from tailwise.files import write_whole
from tailwise.types import TailwiseError

FILE = "validation.safetensors"


class HeldOut(NamedTuple):
    """What is kept of the validation samples: four numbers each, whatever the number of classes."""

    labels: Tensor  # (V,) int64
    predictions: Tensor  # (V,) int64, under a uniform prior
    scores: Tensor  # (V,) float64 log probability of the true class under a uniform prior
    energies: Tensor  # (V,) float64, see `energy`


def held_out(logits: Tensor, labels: Tensor) -> HeldOut:
    """The summary of validation logits (V, C), free of any prior, −inf for classes that are never predicted.

    In float64, as `sets` has it: rounded to 0, the score of a class that is all but certain would keep it out of its own set.
    """
    wide = logits.double()
    return HeldOut(labels, logits.argmax(1), wide.log_softmax(-1).gather(1, labels[:, None])[:, 0], energy(wide))


def energy(logits: Tensor) -> Tensor:
    """``log Σ_c e^{g_c}`` (N,) of logits (N, C) free of any prior: low where an image excites no class.

    The negative of the energy score of Liu et al. (NeurIPS 2020). Without the prior, frequent classes do not count more.
    """
    return logits.logsumexp(-1)


class Thresholds(NamedTuple):
    """The least log probability with which a class is in a set, and the samples that say so."""

    least: Tensor  # (C,) float64; −inf: always in the set
    basis: tuple[str, ...]  # per class: "class", "many", "medium", "few", "all", or "none"


def thresholds(held: HeldOut, counts: Tensor, coverage: float) -> Thresholds:
    """For sets that hold the true class with probability ≥ ``coverage``, for every class by itself.

    Class-conditional (Mondrian) split conformal prediction (Vovk, Gammerman and Shafer, 2005; Sadinle, Lei and Wasserman,
    JASA 2019, for these sets): class c is in the set when log p_c is at least the k-th smallest score of the V_c held-out
    samples of c, ``k = ⌊(1 − coverage)(V_c + 1)⌋``. A new sample of c falls below it with probability k / (V_c + 1) at most,
    as long as it and the held-out ones are exchangeable within c. So the promise holds under any shift of class shares.

    A class needs ``V_c ≥ coverage / (1 − coverage)`` samples for k ≥ 1 (9 for 0.9). With fewer, the samples of those classes
    of its shot group (by training ``counts`` (C,)) that are as poor set the threshold, or if these are too few, the samples
    of all classes that are still without one; with too few at all, the class is in every set. ``basis`` says which. What is
    promised then is the coverage of the mix of the classes that share a threshold, in the shares of their held-out samples.
    A class that is harder than the others of its mix gets less of it, so the threshold is for no class above the smallest
    score of its own: class c by itself has at least ``V_c / (V_c + 1)``.

    Raises `TailwiseError` for a coverage outside (0, 1).
    """
    if not 0 < coverage < 1:
        raise TailwiseError(f"sets: the coverage must lie between 0 and 1, such as 0.9, got {coverage}")
    classes = len(counts)
    least = torch.full((classes,), -torch.inf, dtype=torch.float64)
    basis = ["none"] * classes
    order = held.labels.argsort(stable=True)
    for c, own in enumerate(torch.split(held.scores[order], held.labels.bincount(minlength=classes).tolist())):
        if (found := _least(own, coverage)) is not None:
            least[c], basis[c] = found, "class"
    lowest = torch.full_like(least, torch.inf).scatter_reduce(0, held.labels, held.scores.double(), "amin")
    everyone = torch.ones(classes, dtype=torch.bool)
    for name, group in {**shot_groups(counts), "all": everyone}.items():
        poor = group & torch.tensor([before == "none" for before in basis])  # the others need no help, and would give none
        if (found := _least(held.scores[poor[held.labels]], coverage)) is not None:
            least[poor] = lowest[poor].clamp(max=found)
            basis = [name if own else before for own, before in zip(poor.tolist(), basis, strict=True)]
    return Thresholds(least, tuple(basis))


def _least(scores: Tensor, coverage: float) -> float | None:
    k = int((1 - coverage) * (len(scores) + 1) + 1e-9)  # 0.1 · 10 is 1, whatever floats say
    return float(scores.double().kthvalue(k).values) if k else None


def sets(logits: Tensor, thresholds: Thresholds) -> Tensor:
    """(N, C) bool, which classes are in the sets of inputs with logits (N, C), free of any prior; a set may be empty."""
    return (logits.double().log_softmax(-1) >= thresholds.least) & (logits > -torch.inf)


def least_energy(held: HeldOut, rate: float) -> float:
    """The energy below which an image looks like no class: of the held-out samples, at most the share ``rate`` lies below.

    Every class counts the same, for else the false alarms would all be rare classes'. Raises `TailwiseError` for a rate
    outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise TailwiseError(f"abstain: the false-alarm rate must lie between 0 and 1, such as 0.05, got {rate}")
    counts = held.labels.bincount()
    order = held.energies.argsort()
    weights = (1 / (counts[held.labels] * (counts > 0).sum()).double())[order]
    alarms = weights.cumsum(0) - weights  # where the threshold is this sample's energy
    return float(held.energies[order[int((alarms <= rate + 1e-9).sum()) - 1]])


def false_alarms(held: HeldOut, least: float, counts: Tensor) -> dict[str, float | None]:
    """Shares of held-out samples whose energy is below ``least``: mean over classes, of all and of each shot group."""
    classes = len(counts)
    total = held.labels.bincount(minlength=classes).double()
    below = held.labels[held.energies < least].bincount(minlength=classes) / total
    groups = {"all": torch.ones(classes, dtype=torch.bool), **shot_groups(counts)}
    means = {name: below[mask & (total > 0)].mean() for name, mask in groups.items()}
    return {name: None if bool(mean.isnan()) else float(mean) for name, mean in means.items()}


def write(held: HeldOut, folder: Path) -> None:
    """Write `FILE` into a run's folder; raises `TailwiseError` when it cannot be written."""
    from safetensors.torch import save

    write_whole(folder / FILE, save({name: value.contiguous() for name, value in held._asdict().items()}))


def read(folder: Path, classes: int = 2**31) -> HeldOut | None:
    """What `write` wrote, or None where there is nothing: a run without validation split, or of an older version.

    Raises `TailwiseError` for a file that holds something else, such as labels of more ``classes``.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / FILE
    if not path.is_file():
        return None
    try:
        held = HeldOut(**load_file(path))
        labelled = (held.labels, held.predictions)
        if len({tuple(column.shape) for column in held}) > 1 or held.labels.ndim != 1 or not len(held.labels):
            raise ValueError("its columns are not of one length")
        if any(column.dtype != torch.int64 or not 0 <= int(column.min()) <= int(column.max()) < classes for column in labelled):
            raise ValueError(f"its labels are not those of {classes} classes")
        if any(not column.is_floating_point() or bool(column.isnan().any()) for column in held[2:]):
            raise ValueError("its scores are no numbers")
        return held
    except (SafetensorError, TypeError, ValueError, OSError) as error:
        raise TailwiseError(f"{path}: cannot be used ({str(error).splitlines()[0]}); train the run again") from error
