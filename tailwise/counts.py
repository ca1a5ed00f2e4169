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
from torch import Tensor

from tailwise.types import IGNORE, TailwiseError

P = ParamSpec("P")
R = TypeVar("R")


class Labelled(Protocol):
    """A data set in the manner of torchvision's: the label of every sample, and the names of the classes in order."""

    targets: Any
    classes: Any


Counts = Tensor | Sequence[int] | Mapping[Any, int] | Labelled
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


def as_counts(counts: Counts) -> Tensor:
    """Class counts as an int64 tensor (C,), from what holds them.

    - a tensor, array or list, class by class;
    - a dict or a pandas series: keys that are numbers say which class, names stand in the order of the classes;
    - a data set with ``targets`` and ``classes``: its labels are counted.

    Raises `TailwiseError` for negative or fractional counts (shares of a whole are not counts), for none at all, and for
    numbered classes with a gap.
    """
    if hasattr(counts, "targets"):
        if not hasattr(counts, "classes"):
            raise TailwiseError("class counts: the data set has no classes; use counts.from_labels(data.targets, classes)")
        return from_labels(counts.targets, len(counts.classes))
    values = _by_class(dict(counts.items())) if hasattr(counts, "items") else counts
    given = torch.as_tensor(values, dtype=None if isinstance(values, Tensor) else torch.float64)
    if given.ndim != 1 or given.numel() == 0:
        raise TailwiseError(f"class counts: expected one whole number per class, got shape {tuple(given.shape)}")
    if given.is_floating_point() and not bool(given.isfinite().all()):
        raise TailwiseError("class counts: not finite; give whole numbers of training samples per class")
    whole = given.to(torch.int64)
    if bool((whole != given).any()):
        raise TailwiseError("class counts: fractions found; give whole numbers of training samples, not shares")
    if bool((whole < 0).any()):
        raise TailwiseError(f"class counts: negative count for class {int((whole < 0).nonzero()[0])}")
    return whole


def _by_class(named: dict[Any, int]) -> list[int]:
    """Counts by name as they stand, by number in the order of the numbers: a Counter has that of first occurrence."""
    if not all(isinstance(key, int) or hasattr(key, "__index__") for key in named):
        return list(named.values())
    if missing := set(range(len(named))) - set(named):
        raise TailwiseError(f"class counts: no count for class {min(missing)}; number classes from 0, absent ones with count 0")
    return [named[c] for c in range(len(named))]


def from_labels(labels: Any, classes: int | Sequence[Any]) -> Tensor:
    """Class counts (C,) int64 of a label vector: a tensor, array, series or list.

    ``classes`` is how many classes there are, for labels 0..C-1; or their names in the order of the model's outputs, for
    labels that are names. Labels equal to IGNORE are not counted. Raises `TailwiseError` for any other label.
    """
    if not isinstance(classes, int):
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


def absent(counts: Tensor) -> Tensor:
    """Which classes (C,) bool have no training sample."""
    return counts == 0


def log_prior(counts: Tensor) -> Tensor:
    """log π_c = log(n_c / Σ n) (C,) float64, with zero counts floored at one."""
    floored = counts.clamp(min=1).double()
    return floored.log() - floored.sum().log()


def imbalance_factor(counts: Tensor) -> float:
    """Largest over smallest count (≥ 1), over the classes that occur."""
    seen = counts[counts > 0]
    return float(seen.max() / seen.min()) if seen.numel() else 1.0


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """(1 − β^n) / (1 − β) (C,) float64, β in [0, 1): the volume of n overlapping samples (Cui et al., CVPR 2019)."""
    if not 0 <= beta < 1:
        raise TailwiseError(f"effective number: beta must lie in [0, 1), got {beta}")
    return (1 - beta ** counts.clamp(min=1).double()) / (1 - beta)


def allocate(counts: Tensor, size: int, floor: int) -> Tensor:
    """Queue slots per class (C,) int64: ``floor`` for each class, the rest in proportion to its count.

    ``end_c = ⌈(c + 1)·b + (K − C·b)·Σ_{j≤c} n_j / N⌉`` with K = size, b = floor, in whole numbers, so that the slots sum
    to K exactly (the allocation of Suh & Seo, ICML 2023). Raises `TailwiseError` when K < C·b or the floor is below one.
    """
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


def shot_groups(counts: Tensor, many: int = MANY, few: int = FEW) -> dict[str, Tensor]:
    """Masks (C,) bool of the many-, medium- and few-shot classes by training count; a group may be empty."""
    return {"many": counts > many, "medium": (counts <= many) & (counts >= few), "few": counts < few}


def thirds(counts: Tensor) -> dict[str, Tensor]:
    """Masks (C,) bool of the head, middle and tail third of the classes by count; ties keep class order."""
    order = torch.argsort(counts, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(counts.numel())
    third = counts.numel() // 3
    head, tail = rank < third, rank >= counts.numel() - third
    return {"head": head, "middle": ~head & ~tail, "tail": tail}
