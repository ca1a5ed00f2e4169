"""Copies and near duplicates of a source, within and across its splits, and what is wrong with them."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailwise.data import Issue, MultiLabelSplit, PixelSplit, Split
from tailwise.data.source import to_rgb
from tailwise.survey.duplicates import ALIKE, Pair, clusters, pairs
from tailwise.survey.look import SIDE, Looked

LISTED = 10_000
"""Pairs in a record at most; the most important come first."""

_COPY = re.compile(r"duplicate( with another label)?: equals (.*) in (train|val|test)")  # of `tailwise.data.checks`


@dataclass(frozen=True)
class Alike:
    """The pairs of look-alikes by number (splits one after the other), as they stand in the record."""

    pairs: Sequence[Pair]
    record: Mapping[str, Any]


def find(splits: Mapping[str, Split], looked: Mapping[str, Looked], names: Sequence[str], issues: Sequence[Issue]) -> Alike:
    """Every near duplicate in the splits, and the exact copies among the issues, which were left out on opening.

    The record holds ``copies`` and ``near``. Copies: ``number``, ``across`` splits, ``conflicts`` (another label), ``pairs``.
    Near: images in ``clusters``, ``images`` in them; ``leaks``, the images of val or test, by split, that look like one of
    train; ``conflicts``, pairs of two labels; ``torn``, images of train that another one of train looks like, in no common
    group; ``pairs``, across splits first, then of two labels, then the most alike, and how many are ``left_out``.
    Images of fewer than 16 pixels a side all look alike, so only equal ones count among them (``only_equal``).
    """
    tiny = max(int(one.sizes.max(initial=0)) for one in looked.values()) < SIDE
    thumbnails = np.concatenate([one.thumbnails for one in looked.values()])
    part = np.repeat(np.arange(len(splits)), [len(split.labels) for split in splits.values()])
    label = _kinds(list(splits.values()))
    limit = 0.0 if tiny else ALIKE
    number = clusters(thumbnails, limit)
    found = pairs(thumbnails, number, part == 0, part, label, alike=limit)  # nearest of train, whatever else is nearer
    found.sort(
        key=lambda pair: (part[pair.first] == part[pair.second], label[pair.first] == label[pair.second], pair.difference)
    )
    card, same = _cards(splits, names), _equal(splits)
    size = np.bincount(number)
    leaks = {pair.second for pair in found if part[pair.first] == 0 != part[pair.second]}
    within = [pair for pair in found if part[pair.first] == part[pair.second] == 0]
    record = {
        "copies": _copies(issues),
        "near": {
            "clusters": int((size > 1).sum()),
            "images": int(size[size > 1].sum()),
            "leaks": dict(Counter(list(splits)[part[row]] for row in sorted(leaks))),
            "conflicts": sum(1 for pair in found if label[pair.first] != label[pair.second]),
            "torn": len({row for pair in within for row in pair[:2]} if splits["train"].groups is None else ()),
            "only_equal": tiny,
            "pairs": [
                {
                    "first": card(pair.first),
                    "second": card(pair.second),
                    "difference": round(pair.difference, 3),
                    "equal_pixels": pair.difference == 0 and same(pair.first, pair.second),
                }
                for pair in found[:LISTED]
            ],
            "left_out": max(len(found) - LISTED, 0),
        },
    }
    return Alike(found[:LISTED], record)


def called(split: Split, name: str, i: int) -> str:
    """What a report calls an image: its path, or its number in its split where it has none."""
    return split.paths[i] if split.paths else f"{name} image {i}"


def _kinds(splits: Sequence[Split]) -> NDArray[np.int64]:
    """(N,) a number for each image, of equal labels the same one. Images with masks have none to compare."""
    if any(isinstance(split, PixelSplit) for split in splits):
        return np.zeros(sum(len(split.labels) for split in splits), dtype=np.int64)
    targets = torch.cat([split.targets(torch.arange(len(split.labels))) for split in splits])
    return np.unique(targets.numpy(), axis=0, return_inverse=True)[1].reshape(-1)


def _starts(splits: Mapping[str, Split]) -> list[int]:
    return list(accumulate((len(split.labels) for split in splits.values()), initial=0))[:-1]


def _place(splits: Mapping[str, Split], number: int) -> tuple[str, int]:
    """The split of an image, and its place there."""
    starts = _starts(splits)
    at = int(np.searchsorted(starts, number, side="right")) - 1
    return list(splits)[at], number - starts[at]


def _cards(splits: Mapping[str, Split], names: Sequence[str]) -> Callable[[int], dict[str, str]]:
    def card(row: int) -> dict[str, str]:
        name, i = _place(splits, row)
        split = splits[name]
        return {"path": called(split, name, i), "split": name, **_label(split, i, names)}

    return card


def _label(split: Split, i: int, names: Sequence[str]) -> dict[str, str]:
    """The class of an image, or its classes; masks say more than a line could."""
    if isinstance(split, PixelSplit):
        return {}
    if isinstance(split, MultiLabelSplit):
        return {"class": ", ".join(names[c] for c in split.positives[i].nonzero()[:, 0].tolist()) or "no label"}
    return {"class": names[int(split.labels[i])]}


def _equal(splits: Mapping[str, Split]) -> Callable[[int, int], bool]:
    def same(*rows: int) -> bool:
        places = [_place(splits, row) for row in rows]
        first, second = (to_rgb(splits[name].images[i]) for name, i in places)
        return first.size == second.size and first.tobytes() == second.tobytes()

    return same


def _copies(issues: Sequence[Issue]) -> dict[str, Any]:
    found = [(issue, match) for issue in issues if (match := _COPY.fullmatch(issue.problem))]
    return {
        "number": len(found),
        "across": sum(1 for issue, match in found if issue.split != match[3]),
        "conflicts": sum(1 for _, match in found if match[1]),
        "pairs": [
            {"left_out": issue.path, "split": issue.split, "kept": match[2], "kept_in": match[3], "conflict": bool(match[1])}
            for issue, match in found
        ],
    }
