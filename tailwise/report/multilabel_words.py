"""A run whose images have several labels in words: what came out, what a threshold does to it, and what to beware of."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from tailwise.report.figures import MULTILABEL, SHARES
from tailwise.report.text import percent
from tailwise.report.words import GAIN, by_group, few_tested, lowest, memorised, missing, named, of_training, several, trained

FEWER = 0.7
"""Below this share of the labels that test images have, predictions name too few, and above its inverse too many; ours."""

Result = Mapping[str, Any]


def random_order(result: Result) -> float:
    """The mAP that images in random order have, about: the mean share of the test images that have a class."""
    shares = [row["test"] / result["n_test"] for row in result["per_class"] if row["test"]]
    return fmean(shares) if shares else 0.0


def summary(result: Result) -> list[str]:
    """The run and its figures in a few sentences."""
    labels = result["labels_per_image"]
    return [
        trained(result, "label"),
        f"A training image has {labels['train']:.2f} labels on average, a test image {labels['test']:.2f}.",
        f"Mean average precision (mAP) is {percent(result['map'])} % on {several(result['n_test'], 'test image')}: the images "
        "are put in order by the score of a class, and its AP is 100 % where those that have it come first. A random order "
        f"gives about {percent(random_order(result))} %.",
        by_group(result, {group: group for group in SHARES}),
        lowest(result, MULTILABEL),
    ]


def thresholds(result: Result) -> dict[str, Any]:
    """What a threshold does: a sentence, and a table with a row for each kind of logits."""
    labels, post_hoc = result["labels_per_image"], result.get("post_hoc")
    blocks = {"as in training (predict)": {**result, "predicted": labels["predicted"]}}
    said = (
        "AP compares orders and has no threshold. F1 has one: a class is named where its probability is above 1/2. Macro-F1 is "
        "the mean over classes, micro-F1 that of all labels together. By default tailwise predict answers for classes as "
        "frequent as in training."
    )
    if post_hoc:
        blocks["each on half of the images"] = post_hoc
        said += (
            " With --prior uniform every class is judged as if half of the images had it, so rare ones are named sooner; AP "
            "stays the same."
        )
    return {
        "note": said,
        "caption": f"At probability 1/2, F1 in %; test images have {labels['test']:.2f} labels, training images "
        f"{labels['train']:.2f}.",
        "columns": ["classes are", "macro-F1", "micro-F1", "labels named per image"],
        "rows": [
            [name, percent(block["macro_f1"]), percent(block["micro_f1"]), f"{block['predicted']:.2f}"]
            for name, block in blocks.items()
        ],
    }


def warnings(result: Result, log: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """What to beware of, as far as the figures tell; the data first, then the model, then its training."""
    training = of_training(result, log, "map", "mean average precision")
    return [*missing(result), *_of_data(result), *_of_ranking(result), *_of_threshold(result), *training]


def _of_data(result: Result) -> list[str]:
    if n := few_tested(result):
        return [
            f"Half of the classes are on at most {several(n, 'test image')}, so one image moves a class's AP far. "
            "Read the groups rather than single classes."
        ]
    return []


def _of_ranking(result: Result) -> list[str]:
    found = []
    if result["map"] is not None and result["map"] <= 1.5 * random_order(result):
        found.append(
            "This is hardly better than a random order: look at the learning rate, the number of epochs and some images."
        )
    return found + memorised((result.get("gap") or {}).get("tail"), "AP")


def _of_threshold(result: Result) -> list[str]:
    found, labels, post_hoc = [], result["labels_per_image"], result.get("post_hoc")
    told = {**result, "predicted": labels["predicted"]}
    tested = [row for row in result["per_class"] if row["test"]]
    if never := [row["name"] for row in tested if row["recall"] == 0]:
        found.append(
            f"Never found at probability 1/2: {several(len(never), 'class')} ({named(never)}). Where their AP is high a lower "
            "threshold finds them."
        )
    if told["predicted"] < FEWER * labels["test"] or told["predicted"] > labels["test"] / FEWER:
        kind = "fewer" if told["predicted"] < labels["test"] else "more"
        found.append(
            f"At probability 1/2 the model names {kind} labels than there are: {told['predicted']:.2f} per image, where test "
            f"images have {labels['test']:.2f}. Choose thresholds on images like those in use."
        )
    if post_hoc and post_hoc["macro_f1"] is not None and post_hoc["macro_f1"] - (told["macro_f1"] or 0) > GAIN:
        found.append(
            "At probability 1/2 rare classes are named too seldom: with --prior uniform macro-F1 is "
            f"{percent(post_hoc['macro_f1'])} % (by default {percent(told['macro_f1'])} %) and micro-F1 "
            f"{percent(post_hoc['micro_f1'])} % ({percent(told['micro_f1'])} %)."
        )
    return found
