"""The card of one run whose images have one label, as plain text."""

from collections.abc import Mapping
from typing import Any

from tailwise.report.figures import IMAGES, SHOTS
from tailwise.report.text import NO_PRIOR, NOT_AVAILABLE, best_epoch, counted, heading, listed, percent, row, worst


def card(result: Mapping[str, Any]) -> str:
    """One run for images in full: its figures, then every class, or the ten of lowest recall when there are more than 20.

    Beside the result block it shows what a run adds to it: ``recipe``, ``data``, ``seed``, ``epochs``, ``seconds`` and
    the ``best_epoch``, labelled.
    """
    shots = {group: result[group] for group in SHOTS}
    gap, post_hoc = result["gap"], result["post_hoc"]
    facts = {
        "test samples": str(result["n_test"]),
        "balanced accuracy": percent(result["balanced"]),
        "overall accuracy": percent(result["overall"]),
        "by shots": row(shots),
        "groups": IMAGES.edges(result),
        "by thirds": row(result["thirds"]),
        "worst class": worst(result, IMAGES),
        "harmonic mean": percent(result["harmonic"]),
        "geometric mean": percent(result["geometric"]),
        "macro-F1": percent(result["macro_f1"]),
        "ECE": row(result["ece"]),
        "top-5": percent(result["top5"]),
        "train - test gap": row(gap, "+") if gap else NOT_AVAILABLE,
        "post-hoc": f"balanced {percent(post_hoc['balanced'])}   overall {percent(post_hoc['overall'])}   "
        f"{row({g: post_hoc[g] for g in SHOTS})}   worst {worst(post_hoc, IMAGES)}"
        if post_hoc
        else NO_PRIOR,
        **best_epoch(result, IMAGES),
    }
    return "\n".join([*heading(result), *listed(facts), "", counted(result, IMAGES)]) + "\n"
