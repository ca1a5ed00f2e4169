"""What to do with a data set, in plain sentences that follow from its record."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tailwise.data import PixelSplit, Source, hold_out
from tailwise.data.source import SMALL
from tailwise.train.choose import image_size
from tailwise.train.pixels import CROP
from tailwise.train.recipe import Data
from tailwise.types import TailwiseError

LEVEL, STEEP = 3, 100
"""Imbalance factors up to which classes count as about equal, and above which a tail counts as steep; ours."""

JUDGED = 10
"""Test images below which a class's recall says little: one image more or less moves it by 10 points; ours."""

Record = Mapping[str, Any]


def recommend(source: Source, record: Record) -> dict[str, Any]:
    """What `fit` would do without further options, what to mend before, and what to expect.

    ``mend``, ``split``, ``method`` and ``difficulty`` are lists of sentences, ``images`` says how many images each split would
    have, ``command`` is what to type.
    """
    images, test, sentences, problem = _split(source)
    return {
        "mend": [*([f"fit stops here: {problem}."] if problem else []), *_mend(record)],
        "split": sentences,
        "images": images,
        "method": _method(source, record),
        "difficulty": _difficulty(record, test),
        "command": f"tailwise fit {shlex.quote(str(record['source']))} --objective LogitAdjusted",
    }


def _split(source: Source) -> tuple[dict[str, int], Tensor, list[str], str]:
    """Images by split as `tailwise.train.prepare` makes them, images per class (C,) that are tested, sentences, a problem."""
    data, train = Data(), source.splits["train"]
    pixels, said = isinstance(train, PixelSplit), []
    test = source.splits.get("test")
    try:
        if test is None:
            kept, held = hold_out(
                train.labels, data.test, data.subset_seed, train.groups, source.names, least=0 if pixels else 1
            )
            train, test = train.subset(kept), train.subset(held)
            said.append(f"The source has no test split, so {data.test:.0%} of each class is held out for it.")
        else:
            said.append("The test split of the source is used as it is.")
        if "val" in source.splits:
            val = len(source.splits["val"].labels)
            said.append("So is its val split.")
        else:
            kept, held = hold_out(train.labels, data.validation, data.subset_seed + 1, train.groups, source.names, least=0)
            train, val = train.subset(kept), len(held)
            said.append(
                f"For validation {data.validation:.0%} of each training class is held out; a class of one image is left whole."
            )
    except TailwiseError as error:
        return {"train": len(train.labels)}, torch.zeros(len(source.names)), said, str(error)
    if train.groups is not None:
        said.append("Images of a group stay on one side.")
    of_class = (test.pixels > 0).sum(0) if isinstance(test, PixelSplit) else test.counts(len(source.names))
    return {"train": len(train.labels), "val": val, "test": len(test.labels)}, of_class, said, ""


def _mend(record: Record) -> list[str]:
    """What is wrong, the worst first."""
    said, near, copies, groups = [], record["alike"]["near"], record["alike"]["copies"], record["groups"]
    if record["refused"]:
        said.append(f"fit refuses the data as they are: {record['refused']}. Mend or remove the files listed as skipped.")
    elif bad := len(record["skipped"]["files"]):
        said.append(f"Images that cannot be used and will be skipped: {bad:,}; they are listed by file.")
    for split, number in near["leaks"].items():
        share = number / record["splits"][split]["images"]
        said.append(
            f"Images of {split} that look the same as one of train: {number:,} ({share:.1%}), so the figures on it will be too "
            "good. Keep such images on one side."
        )
    if groups and groups["across_splits"]:
        named = _named(groups["across_splits"])
        said.append(f"Groups that lie in more than one split: {len(groups['across_splits']):,} ({named}). Put each into one.")
    if copies["conflicts"]:
        said.append(f"Exact copies under another label: {copies['conflicts']:,}. One of the two labels is wrong.")
    if near["conflicts"]:
        said.append(
            f"Pairs that look the same and have different labels: {near['conflicts']:,}. Look at them first; frames of a fixed "
            "camera may be right."
        )
    if near["torn"] and "test" not in record["splits"]:
        said.append(
            f"Training images that look like another one, with nothing that says they belong together: {near['torn']:,}. Where "
            "the test set is split off they come to both sides, so give a CSV with a column group (burst, site, patient)."
        )
    return said


def _method(source: Source, record: Record) -> list[str]:
    factor, train = record["splits"]["train"]["imbalance_factor"], source.splits["train"]
    if factor <= LEVEL:
        said = [
            f"The classes are about equally frequent (imbalance factor {factor:g}), so any loss will do; logit adjustment "
            "(LogitAdjusted) is cross-entropy where counts are equal."
        ]
    else:
        said = [
            f"The most frequent class has {factor:g} times what the rarest has, so cross-entropy would favour it. Logit "
            "adjustment (LogitAdjusted) takes the training frequencies out of the loss, costs nothing and has nothing to tune.",
            "If time allows, compare with BCL and GML, which take two to three times as long: --objective BCL.",
        ]
    if isinstance(train, PixelSplit):
        size = min(CROP, min(train.images[0].size))
        return [*said, f"Training sees crops of {size} × {size} pixels; images are judged whole (--data.image_size)."]
    size = image_size(train.images)
    said.append(f"Images are seen at {size} × {size} pixels (--data.image_size).")
    if size > SMALL:
        said.append(
            "Photographs of this size want a pretrained network: from scratch they teach it little. fit takes one where "
            "its weights can be had."
        )
    if record["images"]["median_short_side"] > 2 * size:
        said.append("The images are much larger than that: where classes differ in small details, try a larger size.")
    return said


def _difficulty(record: Record, test: Tensor) -> list[str]:
    """How hard it will be, and which classes cannot be judged."""
    rows, unit = record["classes"], "images" if record["task"] == "images" else "pixels"
    factor = record["splits"]["train"]["imbalance_factor"]
    rare = [row["name"] for row in rows if row["group"] in ("few", "tail") and row["train"] > 0]
    absent = record["splits"]["train"]["absent"]
    hard = factor > STEEP or len(rare) > len(rows) / 3
    word = "hard" if hard else "moderate" if factor > LEVEL or rare else "no harder than a balanced set"
    edge = record["edges"]["few" if unit == "images" else "tail"]
    of = "training images" if unit == "images" else "of the training pixels"
    said = [
        f"Expected difficulty: {word}. Imbalance factor {factor:g}; classes in the rarest group ({edge} {of}): {len(rare):,} "
        f"of {len(rows):,}."
    ]
    if absent:
        said.append(f"Without any training {unit}, so never predicted: {_named(absent)}.")
    counts = dict(zip((row["name"] for row in rows), test.tolist(), strict=True))
    few = sorted((name for name in counts if counts[name] < JUDGED), key=lambda name: counts[name])
    if few and sum(counts.values()):
        shown = _named([f"{name} ({counts[name]:g})" for name in few])
        said.append(
            f"Classes with fewer than {JUDGED} test images, to be judged only as a group: {len(few):,} of {len(rows):,}, "
            f"{shown}."
        )
    if "test" in record["splits"] and record["splits"]["test"]["imbalance_factor"] > LEVEL and unit == "images":
        said.append("The test set is skewed too: read the mean over classes (balanced accuracy), not the share that is right.")
    return said


def _named(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
