"""From pairs of image and mask to a source: what cannot be used is skipped, listed and counted, as it is for images."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tailwise.data.checks import Look, Sample, refuse_if_many, sort_out, write_issues
from tailwise.data.pixel_looks import Pair, Seen, look_at_pairs
from tailwise.data.pixels import OUTSIDE, EncodedMasks, PixelSplit, Table, class_table, rarest
from tailwise.data.source import Encoded, Issue, Source, content_hash
from tailwise.types import IGNORE, TailwiseError

UNLABELLED = "no labelled pixel"
"""The problem of a pair whose mask is all ignored."""


def examine_pairs(
    name: str,
    pairs: Mapping[str, Sequence[Pair]],
    *,
    names: Sequence[str] = (),
    ignore: Sequence[int] = (),
    table: Table | None = None,
    val_is_test: bool = False,
    strict: bool = False,
    issues_path: str | Path | None = None,
    cache: Path | None = None,
    advice: str = "",
) -> Source:
    """The source made of the usable ``pairs`` of each split, "train" among them; its splits are `PixelSplit`.

    Raw values become classes by ``table`` (65536,), else by `class_table` of the ``names`` and the values to ``ignore``: 255
    where none is given, or 65535 where there are more values than 255. Without names classes are called "0".."C-1", and
    every one must occur somewhere.

    Skipped and listed in ``issues``, besides what `tailwise.data.checks.examine` skips: an image or a mask without the
    other; a mask that is unreadable, in colour, in a format other than PNG and TIFF, of another size than the image, with a
    value that is no class and not ignored, or without any labelled pixel. Equal images are duplicates, whatever their
    masks: test keeps its copy before val, val before train. A val or test split without any labelled pixel, as where a
    benchmark keeps its labels to itself, is left out, with one line in ``issues``; with ``val_is_test`` val is then called
    test. ``sha256`` is over images, masks and table. What is read at which start: see `look_at_pairs`.
    Raises `TailwiseError` when more than 1 % of all pairs are bad (``strict``: one; ``advice`` ends the line), for two
    classes of one name, and when fewer than two have pixels in train; a class without any is allowed, its count is 0.
    """
    if len(set(names)) < len(names):
        twice = next(one for at, one in enumerate(names) if one in names[:at])
        raise TailwiseError(f"{name}: two classes are called {twice!r}; give each a name of its own")
    if not pairs.get("train"):
        raise TailwiseError(f"{name}: no training images in it; add images with masks")
    every = [pair for of_split in pairs.values() for pair in of_split]
    splits = [split for split, of_split in pairs.items() for _ in of_split]
    files, seen = look_at_pairs(every, cache)
    if table is None:
        values = np.unique(np.concatenate([one.values for one in seen]))
        ignored = ignore or _usual(len(names) if names else int(values[values < 65535].max(initial=0)))
        classes = len(names) or len(np.setdiff1d(values, ignored))
        table = class_table(classes, ignored)
        if not names:
            _check_gaps(every, seen, table)
            names = [str(c) for c in range(classes)]
    problems = [one.problem or _problem(one, table) for one in seen]
    rows, notes = _by_split(splits, problems, val_is_test)

    masks: dict[bytes, int] = {}
    kinds = [masks.setdefault(found.mask, len(masks)) for found in files]
    samples = {split: [Sample(every[i].path, kinds[i], None) for i in of_split] for split, of_split in rows.items()}
    looks = {split: [Look(problems[i], files[i].image) for i in of_split] for split, of_split in rows.items()}
    kept, issues = sort_out(samples, looks)
    if (issues or notes) and issues_path is not None:
        write_issues([*issues, *notes], issues_path)

    parts, hashed, rule = {}, {}, hashlib.sha256(table.astype("<i8").tobytes()).digest()
    for split, of_split in rows.items():
        chosen = [of_split[i] for i in kept[split]]
        pixels = _pixels([seen[i] for i in chosen], table, len(names))
        labels = rarest(pixels)
        images = Encoded([item for i in chosen if (item := every[i].image) is not None])
        encoded = EncodedMasks([item for i in chosen if (item := every[i].mask) is not None], table)
        paths = tuple(every[i].path for i in chosen)
        parts[split] = PixelSplit(images, labels, paths=paths, masks=encoded, pixels=pixels)
        hashed[split] = (labels, [hashlib.sha256(files[i].image + files[i].mask + rule).digest() for i in chosen])
    source = Source(name, tuple(names), parts, (*issues, *notes), content_hash(hashed))
    refuse_if_many(source, sum(map(len, rows.values())), strict, issues_path, advice)
    _check_classes(name, parts["train"].counts(len(names)), (table == IGNORE).nonzero()[0])
    return source


def _usual(largest: int) -> Sequence[int]:
    """The raw value that means "no label" where nothing says so."""
    return (255,) if largest <= 255 else (65535,)


def _check_gaps(pairs: Sequence[Pair], seen: Sequence[Seen], table: Table) -> None:
    """Without names a value that no mask has is far more often a wrong mask than a class that nothing shows."""
    for pair, one in zip(pairs, seen, strict=True):
        if (beyond := one.values[table[one.values] == OUTSIDE]).size:
            there = {int(value) for other in seen for value in other.values}
            gap = next(int(value) for value in (table >= 0).nonzero()[0] if int(value) not in there)
            raise TailwiseError(
                f"{pair.path}: mask value {beyond[0]}, but no mask has {gap}; number the classes without gaps, name them all, "
                "or say which value to ignore"
            )


def _problem(one: Seen, table: Table) -> str:
    """What is wrong with the values of a mask, if anything."""
    classes = table[one.values]
    if (classes == OUTSIDE).any():
        value, known = one.values[classes == OUTSIDE][0], (table >= 0).nonzero()[0]
        ignored = ", ".join(map(str, (table == IGNORE).nonzero()[0]))
        return f"mask value {value} is no class: these are {known.min()}..{known.max()}, ignored is {ignored}"
    return "" if (classes != IGNORE).any() else UNLABELLED


def _by_split(splits: Sequence[str], problems: Sequence[str], val_is_test: bool) -> tuple[dict[str, list[int]], list[Issue]]:
    """Positions of the pairs by split, without splits that have no labels; and a line on each of these."""
    rows: dict[str, list[int]] = {}
    for i, split in enumerate(splits):
        rows.setdefault(split, []).append(i)
    bare = [split for split, found in rows.items() if split != "train" and {problems[i] for i in found} == {UNLABELLED}]
    notes = [Issue("", split, f"left out: {UNLABELLED} in any of its {len(rows.pop(split))} masks") for split in bare]
    if val_is_test and "test" not in rows and "val" in rows:
        rows["test"] = rows.pop("val")
    return rows, notes


def _pixels(seen: Sequence[Seen], table: Table, classes: int) -> Tensor:
    """(N, C) int64: pixels of each class in each mask."""
    pixels = np.zeros((len(seen), classes), dtype=np.int64)
    for row, one in zip(pixels, seen, strict=True):
        of_class = table[one.values]
        np.add.at(row, of_class[of_class >= 0], one.times[of_class >= 0])
    return torch.from_numpy(pixels)


def _check_classes(name: str, counts: Tensor, ignored: Sequence[int]) -> None:
    if int((counts > 0).sum()) < 2:
        values = f"; is {ignored[0]}, which is ignored, a class?" if len(ignored) == 1 else ""
        raise TailwiseError(f"{name}: fewer than two classes have pixels in train{values}")
