"""A run whose images have one label in words: what was trained, what came out, and what its reader should beware of."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tailwise.report.evidence import Evidence, flow, group_of
from tailwise.report.figures import IMAGES, SHOTS
from tailwise.report.text import percent
from tailwise.report.words import GAIN, by_group, few_tested, lowest, memorised, missing, named, of_training, several, trained
from tailwise.types import IGNORE

# From where on a warning is worth a reader's time; ours.
SKEWED, OVERCONFIDENT = 5, 0.1

Result = Mapping[str, Any]


def chance(result: Result) -> float:
    """Half the width of the 95 % interval of balanced accuracy that a test set of this size leaves.

    1.96 · sqrt(Σ_c r_c (1 − r_c) / n_c) / C over the C tested classes, with r = (hits + ½) / (n + 1), which is never 0 or 1.
    """
    tested = [(row["recall"], row["test"]) for row in result["per_class"] if row["recall"] is not None]
    return 1.96 * math.sqrt(sum(_variance(recall, n) for recall, n in tested)) / len(tested)


def _variance(share: float, n: int) -> float:
    """Of a share of n images that are right, never 0."""
    smooth = (share * n + 0.5) / (n + 1)
    return smooth * (1 - smooth) / n


def summary(result: Result) -> list[str]:
    """The run and its figures in a few sentences."""
    tested = [row for row in result["per_class"] if row["recall"] is not None]
    return [
        trained(result, "image"),
        f"Balanced accuracy, the mean of the classes' recalls, is {percent(result['balanced'])} % (± "
        f"{percent(chance(result))} points for the luck of {several(result['n_test'], 'test image')}, 95 %); guessing gives "
        f"{100 / len(tested):.2g} %. Of all test images {percent(result['overall'])} % are right.",
        by_group(result, {group: f"{group}-shot" for group in SHOTS}),
        lowest(result, IMAGES),
        *_shipped(result),
    ]


def _shipped(result: Result) -> list[str]:
    """What users are told, in a sentence."""
    if not (told := result.get("shipped")):
        return []
    return [
        "What tailwise predict answers by default is meant for equally frequent classes, and calibrated if images were held "
        f"out for it: balanced accuracy {percent(told['balanced'])} %, and its probabilities are "
        f"{percent(told['ece']['all'])} points off on average (ECE; {percent(result['ece']['all'])} uncalibrated)."
    ]


def has_thirds(result: Result) -> bool:
    """Whether the classes can be cut into thirds."""
    return len(result["per_class"]) > 2


def warnings(result: Result, evidence: Evidence | None = None, log: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """What to beware of, as far as the figures tell; the data first, then the model, then its training."""
    training = of_training(result, log, "balanced", "balanced accuracy")
    return [*missing(result), *_of_data(result), *_of_model(result), *_of_answers(result, evidence), *training]


def _of_data(result: Result) -> list[str]:
    classes, found = result["per_class"], []
    sizes = sorted(row["test"] for row in classes if row["test"])
    if n := few_tested(result):
        found.append(
            f"Half of the classes have at most {several(n, 'test image')}, so one image moves a class's recall by "
            f"{percent(1 / n)} points or more. Read the groups rather than single classes."
        )
    if sizes and sizes[-1] >= SKEWED * sizes[0]:
        found.append(
            f"The test set is skewed as well (from {sizes[0]:,} to {sizes[-1]:,} images per class), so the share of all images "
            "that are right speaks of the frequent classes. Read balanced accuracy, and say which mix you expect in use."
        )
    return found


def _of_model(result: Result) -> list[str]:
    found, post_hoc, gap = [], result.get("post_hoc"), result.get("gap") or {}
    tested = [row for row in result["per_class"] if row["recall"] is not None]
    if never := [row["name"] for row in tested if row["recall"] == 0]:
        found.append(f"Never recognised on the test images: {several(len(never), 'class')} ({named(never)}).")
    if result["balanced"] <= 1.5 / len(tested):
        found.append("This is hardly better than guessing: look at the learning rate, the number of epochs and some images.")
    if post_hoc and post_hoc["balanced"] - result["balanced"] > GAIN:
        found.append(
            f"The model still prefers frequent classes: adjusted to equally frequent ones, balanced accuracy would be "
            f"{percent(post_hoc['balanced'])} %. {_mended(result)}"
        )
    return found + memorised(gap.get("few"), "recall")


def _mended(result: Result) -> str:
    if result.get("shipped"):
        return "So tailwise predict answers by default; state another mix of classes with --prior, or train with LogitAdjusted."
    return "Train with LogitAdjusted, or predict for the mix of classes that you expect."


def _of_answers(result: Result, evidence: Evidence | None) -> list[str]:
    if evidence is None:
        return []
    found, counts = [], torch.tensor([row["train"] for row in result["per_class"]])
    labels, predictions = evidence.labels, evidence.predictions
    to = flow(labels, predictions, counts)
    wrong, frequent = int(to[2, 1:].sum()), int(to[2, 1:3].sum())
    if wrong and frequent > 0.8 * wrong and to[2].sum() < 2 * wrong:
        found.append(
            f"Rare classes are taken for frequent ones: {percent(frequent / wrong)} % of the {several(wrong, 'error')} on "
            "few-shot classes go to many- and medium-shot classes."
        )
    for g, name in enumerate(SHOTS):
        own = (labels != IGNORE) & (group_of(counts)[labels.clamp(min=0)] == g)
        if not (n := int(own.sum())):
            continue
        stated, hits = float(evidence.sure[own].mean()), int((evidence.shipped == labels)[own].sum())
        if stated - hits / n > max(OVERCONFIDENT, 1.96 * math.sqrt(_variance(hits / n, n))):
            found.append(
                f"The probabilities of tailwise predict are too high on {name}-shot classes: {percent(stated)} % on average, "
                f"where {percent(hits / n)} % are right. Before a threshold is put on them, hold out more images for their "
                "calibration (a larger --data.validation), or choose it on labelled images like those in use."
            )
    return found
