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
    shipped, shots = result.get("shipped"), {group: result[group] for group in SHOTS}
    gap, post_hoc, n = result["gap"], result["post_hoc"], len(result["per_class"])
    facts = {
        "test samples": str(result["n_test"]),
        "balanced accuracy": percent(result["balanced"]),
        "overall accuracy": percent(result["overall"]),
        "by shots": row(shots),
        "groups": IMAGES.edges(result),
        "by thirds": row(result["thirds"]) if n > 2 else f"{NOT_AVAILABLE} ({n} classes have no thirds)",
        "worst class": worst(result, IMAGES),
        "harmonic mean": percent(result["harmonic"]),
        "geometric mean": percent(result["geometric"]),
        "macro-F1": percent(result["macro_f1"]),
        "ECE": row(result["ece"]),
        "top-5": percent(result["top5"]) if n > 5 else f"{NOT_AVAILABLE} (right with any answer, of {n} classes)",
        "train - test gap": row(gap, "+") if gap else NOT_AVAILABLE,
        "post-hoc": _main(post_hoc) if post_hoc else NO_PRIOR,
        "as predict answers": f"{_main(shipped)}\n{'':20}ECE {row(shipped['ece'])}" if shipped else NOT_AVAILABLE,
        **best_epoch(result, IMAGES),
    }
    return "\n".join([*heading(result), *listed(facts), "", counted(result, IMAGES)]) + "\n"


def _main(block: Mapping[str, Any]) -> str:
    """The main figures of other answers than the model's own."""
    shares = {key: block[key] for key in ("balanced", "overall", *SHOTS)}
    return f"{row(shares)}   worst {worst(block, IMAGES)}"
