"""Class counts and what follows from them: priors, shot groups, queue slots, effective numbers.

Counts are whole numbers of training samples per class, an int64 tensor (C,). A class without training samples has
count zero; one rule serves every function that cannot take zero: it is floored at one for priors, margins and weights,
and `absent` tells post-hoc steps which classes may never be predicted.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from tailwise.types import IGNORE, TailwiseError

P = ParamSpec("P")
R = TypeVar("R")


class Labelled(Protocol):
    """A data set in the manner of torchvision's: the label of every sample, and the names of the classes in order."""

    targets: Any
    classes: Any


Counts = Tensor | NDArray[Any] | Sequence[int] | Mapping[Any, int] | Labelled | Dataset[Any]
"""What `as_counts` takes. A label vector is not among them, because it could be one of counts: see `from_labels`."""

ALIASES = ("class_counts", "cls_num_list")
"""What other code calls the argument ``counts``."""


def with_aliases(function: Callable[P, R]) -> Callable[P, R]:
    """The function, its argument ``counts`` also taken by any name of `ALIASES`."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for alias in ALIASES:
            if alias in kwargs and "counts" not in kwargs:
                kwargs["counts"] = kwargs.pop(alias)
        return function(*args, **kwargs)

    return call


def as_counts(counts: Counts, classes: Sequence[Any] | None = None) -> Tensor:
    """Class counts as an int64 tensor (C,), from what holds them.

    - a tensor, array or list, class by class;
    - a dict, a `collections.Counter` or a pandas series whose keys are class numbers, in whatever order they stand;
    - the same with names for keys, and ``classes``, the names in the order of the model's outputs; one that is no key has
      count 0. Without ``classes`` names are refused: a Counter has the order of first occurrence, pandas that of frequency;
    - a data set with ``targets`` or ``labels``, and ``classes``: its labels are counted; a `torch.utils.data.Subset` or
      ``ConcatDataset`` of such.

    Raises `TailwiseError` for anything else, negative or fractional counts (shares of a whole are not counts), truth
    values, none at all, and numbered classes with a gap.
    """
    if not isinstance(counts, Tensor) and hasattr(counts, "items"):
        return as_counts(_by_class(dict(counts.items()), classes))
    if (told := _labels_of(counts)) is not None:
        labels, names = told[0], told[1] if classes is None else classes
        return from_labels(labels, names if np.asarray(labels).dtype.kind in "OSU" else len(names))
    try:
        if not isinstance(counts, list | tuple | range) and not hasattr(counts, "__array__"):
            raise TypeError("an array would be made of all samples of a data set")
        given = counts if isinstance(counts, Tensor) else torch.as_tensor(np.array(counts))
    except (TypeError, ValueError) as error:
        advice = "give whole numbers per class, or count its labels: counts.from_labels(labels, classes)"
        raise TailwiseError(f"class counts: no counts in a {type(counts).__name__}; {advice}") from error
    if given.ndim != 1 or given.numel() == 0 or given.dtype == torch.bool:
        raise TailwiseError(f"class counts: expected one whole number per class, got {given.dtype} of {tuple(given.shape)}")
    if given.is_floating_point() and not bool(given.isfinite().all()):
        raise TailwiseError("class counts: not finite; give whole numbers of training samples per class")
    whole = given.to(torch.int64)
    if given.is_floating_point() and bool((whole != given).any()):
        raise TailwiseError("class counts: fractions found; give whole numbers of training samples, not shares")
    if bool((whole < 0).any()):
        raise TailwiseError(f"class counts: negative count for class {int((whole < 0).nonzero()[0])}")
    return whole


def _by_class(named: dict[Any, int], classes: Sequence[Any] | None) -> list[int]:
    """Counts in the order of the classes, which their own need not be."""
    if classes is not None:
        if strange := set(named) - set(classes):
            raise TailwiseError(
                f"class counts: {min(strange, key=str)!r} is none of the {len(classes)} classes; name it among them"
            )
        return [named.get(name, 0) for name in classes]
    if names := [key for key in named if not hasattr(key, "__index__")]:
        advice = "give as_counts(counts, classes=names), names in the order of the model's outputs"
        raise TailwiseError(f"class counts: which class is {names[0]!r}? {advice}")
    if missing := set(range(len(named))) - set(named):
        raise TailwiseError(f"class counts: no count for class {min(missing)}; number classes from 0, absent ones with count 0")
    return [named[c] for c in range(len(named))]


def _labels_of(data: Any) -> tuple[Any, Any] | None:
    """Labels and classes of a data set, of a part of one, or of several in a row; None where it does not tell them."""
    if isinstance(data, ConcatDataset):
        told = [found for part in data.datasets if (found := _labels_of(part)) is not None]
        same = len(told) == len(data.datasets) and all(list(classes) == list(told[0][1]) for _, classes in told)
        return (np.concatenate([np.asarray(labels) for labels, _ in told]), told[0][1]) if same else None
    if isinstance(data, Subset):
        whole = _labels_of(data.dataset)
        return whole and (np.asarray(whole[0])[np.asarray(data.indices)], whole[1])
    labels = next((getattr(data, name) for name in ("targets", "labels") if hasattr(data, name)), None)
    return None if labels is None or not hasattr(data, "classes") else (labels, data.classes)


def from_labels(labels: Any, classes: int | Sequence[Any]) -> Tensor:
    """Class counts (C,) int64 of a label vector: a tensor, array, series or list.

    ``classes`` is how many classes there are, for labels 0..C-1; or their names in the order of the model's outputs, for
    labels that are names. Labels equal to IGNORE are not counted. Raises `TailwiseError` for any other label.
    """
    if isinstance(labels, Mapping):
        raise TailwiseError("labels: a mapping has counts, not labels; use counts.as_counts(mapping, classes=names)")
    if not isinstance(classes, int | np.integer):
        number, values = {name: c for c, name in enumerate(classes)}, np.asarray(labels).tolist()
        if strange := set(values) - set(number):
            raise TailwiseError(f"labels: {min(strange, key=str)!r} is none of the {len(number)} classes; name it among them")
        labels, classes = np.array([number[name] for name in values], dtype=np.int64), len(number)
    array = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if array.dtype.kind not in "iu" and array.size:
        raise TailwiseError(
            f"labels: {array.dtype} are no class numbers; give whole numbers from 0, or names and classes=names"
        )
    given = torch.from_numpy(array.astype(np.int64))
    outside = given[(given != IGNORE) & ((given < 0) | (given >= classes))]
    if outside.numel():
        raise TailwiseError(f"labels: {int(outside[0])} is outside 0..{classes - 1}; number the classes from 0")
    return count_labels(given, classes)


def count_labels(labels: Tensor, classes: int) -> Tensor:
    """Occurrences (C,) of each class in integer labels of any shape; others are not counted."""
    flat = labels.reshape(-1)
    return torch.bincount(flat[(flat >= 0) & (flat < classes)], minlength=classes)


def turns(sizes: Tensor) -> Tensor:
    """0 .. n_g − 1 for each of G groups of ``sizes`` n (G,), one group after another: (Σ n,) int64."""
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return torch.arange(starts.numel(), device=starts.device) - starts


@with_aliases
def absent(counts: Counts) -> Tensor:
    """Which classes (C,) bool have no training sample."""
    return as_counts(counts) == 0


@with_aliases
def log_prior(counts: Counts) -> Tensor:
    """log π_c = log(n_c / Σ n) (C,) float64, with zero counts floored at one."""
    floored = as_counts(counts).clamp(min=1).double()
    return floored.log() - floored.sum().log()


@with_aliases
def imbalance_factor(counts: Counts) -> float:
    """Largest over smallest count (≥ 1), over the classes that occur."""
    counts = as_counts(counts)
    seen = counts[counts > 0]
    return float(seen.max() / seen.min()) if seen.numel() else 1.0


@with_aliases
def effective_number(counts: Counts, beta: float) -> Tensor:
    """(1 − β^n) / (1 − β) (C,) float64, β in [0, 1): the volume of n overlapping samples (Cui et al., CVPR 2019)."""
    if not 0 <= beta < 1:
        raise TailwiseError(f"effective number: beta must lie in [0, 1), got {beta}")
    return (1 - beta ** as_counts(counts).clamp(min=1).double()) / (1 - beta)


@with_aliases
def allocate(counts: Counts, size: int, floor: int) -> Tensor:
    """Queue slots per class (C,) int64: ``floor`` for each class, the rest in proportion to its count.

    ``end_c = ⌈(c + 1)·b + (K − C·b)·Σ_{j≤c} n_j / N⌉`` with K = size, b = floor, in whole numbers, so that the slots sum
    to K exactly (the allocation of Suh & Seo, ICML 2023). Raises `TailwiseError` when K < C·b or the floor is below one.
    """
    counts = as_counts(counts)
    classes = counts.numel()
    if floor < 1:
        raise TailwiseError(f"queue: the floor must be at least one slot per class, got {floor}")
    if size < classes * floor:
        raise TailwiseError(f"queue: {size} slots cannot hold {classes} classes x {floor}; ask for at least {classes * floor}")
    shares = [max(int(n), 1) for n in counts.tolist()]
    total, before, ends = sum(shares), 0, [0]
    for c, n in enumerate(shares):
        before += n
        ends.append(-(-((c + 1) * floor * total + (size - classes * floor) * before) // total))
    return torch.tensor(ends).diff()


MANY, FEW = 100, 20
"""Edges of the shot groups, in training samples: many > 100 ≥ medium ≥ 20 > few (Liu et al., CVPR 2019)."""


@with_aliases
def shot_groups(counts: Counts, many: int = MANY, few: int = FEW) -> dict[str, Tensor]:
    """Masks (C,) bool of the many-, medium- and few-shot classes by training count; a group may be empty."""
    counts = as_counts(counts)
    return {"many": counts > many, "medium": (counts <= many) & (counts >= few), "few": counts < few}


@with_aliases
def thirds(counts: Counts) -> dict[str, Tensor]:
    """Masks (C,) bool of the head, middle and tail third of the classes by count; ties keep class order."""
    counts = as_counts(counts)
    order = torch.argsort(counts, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(counts.numel(), device=counts.device)
    third = counts.numel() // 3
    head, tail = rank < third, rank >= counts.numel() - third
    return {"head": head, "middle": ~head & ~tail, "tail": tail}
