"""The report of a run whose images have several labels: figures, thresholds and pictures, for 2 classes or for thousands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from tailwise.data.source import Images
from tailwise.files import write_whole
from tailwise.report import gallery
from tailwise.report import multilabel_words as words
from tailwise.report.figures import MULTILABEL, SHARES
from tailwise.report.names import legible
from tailwise.report.page import render
from tailwise.report.run_page import Log, Result, heading, shared, told, untested, worst_and_rarest
from tailwise.report.text import percent
from tailwise.report.words import named

EACH, LABELS = 3, 3
"""Images of each side of a class, and labels that are said of one, at most."""


class Scored(NamedTuple):
    """What a model says of the N images of a test split."""

    scores: Tensor  # (N, C) float32: the deployed logits
    targets: Tensor  # (N, C) bool, or zeros and ones
    images: Images


def multilabel_report(
    result: Result, scored: Scored | None = None, log: Log = (), manifest: Mapping[str, Any] | None = None
) -> str:
    """One HTML page that needs nothing else, from the result block of a run whose images have several labels.

    ``scored`` adds pictures, ``log`` (the run's metrics) the training curves, and ``manifest`` how to repeat the run. Names
    are escaped.
    """
    result = legible(result)
    return render(
        "multilabel.html",
        **shared(result, MULTILABEL, "mAP", log, manifest, " Precision, recall and F1 are at probability 1/2."),
        summary=words.summary(result),
        warnings=words.warnings(result, log),
        groups=_groups(result),
        thresholds=words.thresholds(result),
        answers=None if scored is None else _answers(result["per_class"], scored),
    )


def write(
    path: Path, result: Result, scored: Scored | None = None, log: Log = (), manifest: Mapping[str, Any] | None = None
) -> None:
    """Write `multilabel_report` to a file, whole or not at all; raises `TailwiseError` when it cannot be."""
    write_whole(path, multilabel_report(result, scored, log, manifest).encode(errors="replace"))


def _groups(result: Result) -> dict[str, Any]:
    """A table of the groups of classes."""
    gap = result.get("gap") or {}
    sizes = result["classes_in_group"]
    rows = [["all", "", str(len(result["per_class"])), percent(result["map"]), percent(gap.get("map"), "+")]]
    rows += [[g, result["edges"][g], str(sizes[g]), percent(result[g]), percent(gap.get(g), "+")] for g in SHARES]
    columns = ["group", "training images", "classes", "mAP", "train − test"]
    return {"caption": "In %: mean AP over the classes; n/a: no such class.", **told(columns, rows, always=4)}


def _answers(classes: Sequence[Result], scored: Scored) -> dict[str, Any]:
    """Pictures of the worst classes and of the rarest."""
    names = [row["name"] for row in classes]
    worst, rarest = (
        [of_class(scored, c, heading(classes[c], MULTILABEL), names) for c in chosen]
        for chosen in worst_and_rarest(classes, MULTILABEL)
    )
    return {"worst": worst, "rarest": rarest, "untested": untested(classes)}


def of_class(scored: Scored, c: int, title: str, names: Sequence[str], limit: int = EACH) -> gallery.Shelf:
    """The images with label ``c`` that score highest, then those without it, of them that stand before one that has it."""
    scores, own = scored.scores[:, c], scored.targets[:, c] > 0
    order = scores.argsort(descending=True, stable=True)
    right, wrong = order[own[order]], order[~own[order]]
    wrong = wrong[scores[wrong] > scores[own].min()] if len(right) else wrong
    return gallery.Shelf(title, [_thumbnail(scored, int(i), c, names) for i in [*right[:limit], *wrong[:limit]]])


def _thumbnail(scored: Scored, i: int, c: int, names: Sequence[str]) -> gallery.Thumbnail:
    """Test image ``i``, small, with its place and probability among all by label ``c``, and what else it shows."""
    own, score = scored.targets[i] > 0, scored.scores[i, c]
    place, sure = int((scored.scores[:, c] > score).sum()) + 1, percent(float(score.sigmoid()))
    labels, has = named([names[k] for k in own.nonzero()[:, 0].tolist()], LABELS) or "no label", bool(own[c])
    caption = f"no. {place}, {sure}\u00a0%" + ("" if has else f": {labels}")
    return gallery.framed(scored.images[i], f"test image {i}: {labels}", caption, has)
