"""What to do with a data set, in plain sentences that follow from its record."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tailwise.data import MultiLabelSplit, PixelSplit, Source
from tailwise.data.source import SMALL
from tailwise.train import choose, rules
from tailwise.train.multilabel import OBJECTIVE
from tailwise.train.pixels import CROP
from tailwise.train.prepare import arrange
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
    data = Data(source=record["source"])
    try:
        prepared = arrange(source, data)
    except TailwiseError as error:
        mend, split, images = [f"fit stops here: {error}."], [], {"train": len(source.splits["train"].labels)}
        tested = torch.zeros(len(source.names))
    else:
        mend, images, test = [], {name: len(part.labels) for name, part in prepared.splits().items()}, prepared.test
        made = choose.split(data, prepared.train, prepared.held_out(), prepared.counts)
        split = [f"{made.value}; {made.why} ({made.option})."]
        tested = (test.pixels > 0).sum(0) if isinstance(test, PixelSplit) else test.counts(len(source.names))
    return {
        "mend": mend + _mend(record),
        "split": split,
        "images": images,
        "method": _method(source, record),
        "difficulty": _difficulty(record, tested),
        "command": f"tailwise fit {shlex.quote(str(record['source']))}",
    }


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
    if isinstance(train, MultiLabelSplit):
        said = [
            f"Images have {float(train.positives.sum(1).mean()):.1f} labels on average, so every class gets a sigmoid of its "
            f"own; the loss is {OBJECTIVE}, adjusted to the frequencies, unless --objective names DistributionBalanced or "
            "Asymmetric."
        ]
    elif factor <= LEVEL:
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
    size = rules.image_size(train.images)
    said.append(f"Images are seen at {size} × {size} pixels (--data.image_size).")
    if size > SMALL:
        said[-1] = (
            "Photographs of this size want a pretrained network: from scratch they teach it little. fit takes one where its "
            "weights can be had, and shows it images of the size that it is made for, mostly 224 × 224 pixels; else images are "
            f"seen at {size} × {size} (--data.image_size)."
        )
    if record["images"]["median_short_side"] > 2 * size:
        said.append("The images are much larger than that: where classes differ in small details, try a larger size.")
    return said


def _difficulty(record: Record, test: Tensor) -> list[str]:
    """How hard it will be, and which classes cannot be judged."""
    rows, unit = record["classes"], "pixels" if record["task"] == "pixels" else "images"
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
