"""The card of one run that labels pixels, as plain text."""

from collections.abc import Mapping
from typing import Any

from tailwise.report.figures import PIXELS, SHARES
from tailwise.report.text import NO_PRIOR, best_epoch, classes, heading, listed, percent, table, worst

SHOWN = 40
"""A card lists every class up to this many, and above it only the ten of lowest IoU."""


def card(result: Mapping[str, Any]) -> str:
    """One run in full, from the result block of `tailwise.train.pixels`: its figures, then its classes, rarest last."""
    post_hoc, gap = result["post_hoc"], result["gap"]
    facts = {
        "test images": f"{result['n_test']}, {result['test_pixels']} labelled pixels",
        "mean IoU": percent(result["miou"]),
        **({"boundary F-score": percent(result["boundary_f"])} if "boundary_f" in result else {}),
        "mean class accuracy": percent(result["mean_accuracy"]),
        "mean precision": percent(result["mean_precision"]),
        "pixel accuracy": percent(result["pixel_accuracy"]),
        "frequency-weighted IoU": percent(result["frequency_weighted_iou"]),
        **{group: _group(result["groups"][group]) for group in SHARES},
        "groups": PIXELS.edges(result),
        "worst class": worst(result, PIXELS),
        "train - test gap": f"mean IoU {percent(gap['miou'], '+')}" if gap else percent(None),
        "post-hoc": f"mean IoU {percent(post_hoc['miou'])}   tail: {_group(post_hoc['tail'])}" if post_hoc else NO_PRIOR,
        **best_epoch(result, PIXELS),
    }
    return "\n".join([*heading(result), *listed(facts), "", _classes(result)]) + "\n"


def _group(group: Mapping[str, Any]) -> str:
    return f"IoU {percent(group['miou'])}   accuracy {percent(group['accuracy'])}   precision {percent(group['precision'])}"


def _classes(result: Mapping[str, Any]) -> str:
    """The table of all classes by falling share, or of the ten of lowest IoU."""
    title, shown = classes(sorted(result["per_class"], key=lambda c: -float(c["share"])), PIXELS, SHOWN)
    keys = PIXELS.of_class.values()
    rows = [[c["name"], f"{100 * c['share']:.2f}", c["group"], *(percent(c[key]) for key in keys)] for c in shown]
    return f"{title}\n{table(['class', 'share of pixels', 'group', *PIXELS.of_class], rows)}"
