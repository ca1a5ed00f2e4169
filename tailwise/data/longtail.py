"""Balanced data made long-tailed: how many images each class keeps, and which."""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tailwise.counts import count_labels
from tailwise.data.source import class_name
from tailwise.types import TailwiseError

Kind = Literal["exp", "step"]


def profile(largest: int, classes: int, factor: float, kind: Kind = "exp", *, allow_empty: bool = False) -> Tensor:
    """Images per class (C,) int64 at imbalance factor IF = n_max / n_min ≥ 1; class 0 is the largest.

    - exp: ``n_c = ⌊n_max · r^(c / (C−1))⌋`` with r = 1 / IF (Cui et al., CVPR 2019; Cao et al., NeurIPS 2019);
    - step: n_max for the first ⌊C / 2⌋ classes, ``⌊n_max · r⌋`` for the others (Buda et al., 2018).

    Truncated, never rounded, and computed in floating point as the published generators do, so that the counts are
    theirs. A class that would be empty keeps one image unless ``allow_empty``; the realised factor is then below IF.
    Raises `TailwiseError` for a factor below one, fewer than one image or class, or an unknown kind.
    """
    if not 1 <= factor < float("inf"):
        raise TailwiseError(f"imbalance factor: must be at least 1 and finite, got {factor}")
    if largest < 1 or classes < 1:
        raise TailwiseError(f"long tail: needs at least one image and one class, got {largest} and {classes}")
    ratio = 1 / factor
    if kind == "exp":
        wanted = [int(largest * ratio ** (c / max(classes - 1.0, 1.0))) for c in range(classes)]
    elif kind == "step":
        head = classes // 2
        wanted = [largest] * head + [int(largest * ratio)] * (classes - head)
    else:
        raise TailwiseError(f"long tail: unknown kind {kind!r}; choose exp or step")
    return torch.tensor(wanted).clamp(min=0 if allow_empty else 1)


def largest_fitting(available: Tensor, factor: float, kind: Kind = "exp", *, allow_empty: bool = False) -> int:
    """The largest n_max whose `profile` asks no class for more images than ``available`` (C,) has.

    Raises `TailwiseError` when not even n_max = 1 fits, because a class has no image.
    """

    def too_many(largest: int) -> bool:
        wanted = profile(largest, available.numel(), factor, kind, allow_empty=allow_empty)
        return bool((wanted > available).any())

    fits = bisect_right(range(1, int(available.max()) + 1), False, key=too_many)  # n_c never falls as n_max grows
    if fits == 0:
        raise TailwiseError(f"long tail: class {int(available.argmin())} has no image")
    return fits


def long_tailed(
    labels: Tensor, wanted: Tensor, seed: int = 0, *, allow_empty: bool = False, names: Sequence[str] = ()
) -> Tensor:
    """Indices (Σ n_c,) int64 into ``labels`` (N,) of a subset with ``wanted`` (C,) images per class, class by class.

    The rule of the LDAM code (Cao et al., NeurIPS 2019): one NumPy legacy generator seeded with ``seed``; for each class
    in order, shuffle the class's indices and keep the first n_c. With one seed and balanced labels the subsets are
    nested: IF 100 ⊂ IF 50 ⊂ IF 10. The global generator is neither read nor changed. ``names`` only serve the errors.
    Raises `TailwiseError` when a class has fewer images than wanted, or is to be empty without ``allow_empty``.
    """
    available = count_labels(labels, wanted.numel())
    if bool((wanted > available).any()):
        c = int((wanted > available).nonzero()[0])
        raise TailwiseError(
            f"long tail: class {class_name(c, names)} has {int(available[c])} images, {int(wanted[c])} are wanted; "
            "ask for fewer images"
        )
    if not allow_empty and bool((wanted < 1).any()):
        c = int((wanted < 1).nonzero()[0])
        raise TailwiseError(f"long tail: class {class_name(c, names)} would be empty; give it an image or allow empty classes")
    generator = np.random.RandomState(seed)  # the legacy generator: the published subsets come from it
    chosen: list[Tensor] = []
    order = np.argsort(labels.numpy(), kind="stable")  # once: a look at all labels for each class would be N · C
    ends = np.searchsorted(labels.numpy(), np.arange(len(wanted) + 1), sorter=order)
    for c, n in enumerate(wanted.tolist()):
        of_class = order[ends[c] : ends[c + 1]]
        generator.shuffle(of_class)
        chosen.append(torch.from_numpy(of_class[:n]))
    return torch.cat(chosen)


def counts_from_file(path: str | Path, classes: int, names: Sequence[str] = ()) -> Tensor:
    """Images per class (C,) int64 from a text file: one count per line in class order, or ``class count`` per line.

    ``class`` is a number 0..C-1 or, where ``names`` are given, a class name; blank lines are skipped.
    Raises `TailwiseError` for a missing file, a line that is neither, and a file that does not give each class once.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TailwiseError(f"{path}: cannot read the counts file ({error})") from error
    number = {**{str(c): c for c in range(classes)}, **{name: c for c, name in enumerate(names)}}
    found: dict[int, int] = {}
    for at, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        *head, count = line.rsplit(maxsplit=1)
        name = head[0].strip() if head else str(len(found))
        if not count.isdecimal():
            raise TailwiseError(f"{path}, line {at}: {count!r} is not a count; write one whole number per class")
        if name not in number and head:
            raise TailwiseError(f"{path}, line {at}: no class {name!r} among the {classes} classes")
        c = number[name] if head else len(found)
        if c in found:
            raise TailwiseError(f"{path}, line {at}: class {class_name(c, names)} has two counts; keep one")
        found[c] = int(count)
    if len(found) != classes:
        raise TailwiseError(f"{path}: {len(found)} counts for {classes} classes; write one for each class")
    return torch.tensor([found[c] for c in range(classes)])
