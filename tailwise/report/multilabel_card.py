"""The card of one run whose images have several labels, as plain text."""

from collections.abc import Mapping
from typing import Any

from tailwise.report.figures import MULTILABEL, SHARES
from tailwise.report.text import NOT_AVAILABLE, best_epoch, counted, heading, listed, percent, row, worst


def card(result: Mapping[str, Any]) -> str:
    """One run in full, from its result block: its figures, then every class, or the ten of lowest AP where they are many.

    F1 and the labels that are predicted are at probability 1/2 as `tailwise predict` gives it, for classes as frequent as in
    training, and once more for classes on half of the images. Average precision has no threshold and does not change by it.
    """
    post_hoc, gap, labels = result["post_hoc"], result["gap"], result["labels_per_image"]
    facts = {
        "test images": str(result["n_test"]),
        "mAP": percent(result["map"]),
        "by positives": row({group: result[group] for group in SHARES}),
        "groups": MULTILABEL.edges(result),
        "worst class": worst(result, MULTILABEL),
        "F1": _f1(result),
        "labels per image": "   ".join(f"{name} {n:.2f}" for name, n in labels.items() if n is not None),
        "train - test gap": row({"mAP": gap["map"], **{group: gap[group] for group in SHARES}}, "+") if gap else NOT_AVAILABLE,
        "--prior uniform": _named(post_hoc) if post_hoc else NOT_AVAILABLE,
        **best_epoch(result, MULTILABEL),
    }
    return "\n".join([*heading(result), *listed(facts), "", counted(result, MULTILABEL)]) + "\n"


def _f1(block: Mapping[str, Any]) -> str:
    return row({"macro": block["macro_f1"], "micro": block["micro_f1"]}) + "   at probability 1/2"


def _named(block: Mapping[str, Any]) -> str:
    return f"{_f1(block)}   labels per image {block['predicted']:.2f}"
