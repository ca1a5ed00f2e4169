"""The report of a run that labels images: figures, answers and pictures on one page, for 2 classes or for thousands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tailwise import metrics
from tailwise.files import write_whole
from tailwise.report import charts, gallery
from tailwise.report import image_words as words
from tailwise.report.evidence import Evidence, confusions, flat, flow, group_of, pairs
from tailwise.report.figures import IMAGES, SHOTS
from tailwise.report.page import render
from tailwise.report.run_page import SHELVES, Log, Result, heading, shared, told, worst_and_rarest
from tailwise.report.text import percent
from tailwise.types import IGNORE

CONFUSED = 20
"""Rows of the most frequent errors at most."""


def image_report(
    result: Result, evidence: Evidence | None = None, log: Log = (), manifest: Mapping[str, Any] | None = None
) -> str:
    """One HTML page that needs nothing else, from the result block of `tailwise.evaluate.result`.

    ``evidence`` adds what is about single answers, ``log`` (the run's metrics) the training curves, and ``manifest`` how
    to repeat the run. Names are escaped. Takes seconds and at most some megabytes for ten thousand classes.
    """
    return render(
        "images.html",
        **shared(result, IMAGES, "Balanced accuracy", log, manifest),
        summary=words.summary(result),
        warnings=words.warnings(result, evidence, log),
        groups=_groups(result),
        answers=None if evidence is None else _answers(result["per_class"], evidence),
    )


def write(
    path: Path, result: Result, evidence: Evidence | None = None, log: Log = (), manifest: Mapping[str, Any] | None = None
) -> None:
    """Write `image_report` to a file, whole or not at all; raises `TailwiseError` when it cannot be."""
    write_whole(path, image_report(result, evidence, log, manifest).encode(errors="replace"))


def _groups(result: Result) -> dict[str, Any]:
    """A table of the shot groups, and of the thirds."""
    gap, post_hoc = result.get("gap") or {}, result.get("post_hoc") or {}
    columns = ["group", "training images", "classes", "recall", "ECE", "train − test", "adjusted recall"]

    def row(name: str, edges: str, n: int, key: str, group: str) -> list[str]:
        shares = [percent(block.get(key)) for block in (result, post_hoc)]
        return [name, edges, str(n), shares[0], percent(result["ece"][group]), percent(gap.get(group), "+"), shares[1]]

    rows = [row("all", "", len(result["per_class"]), "balanced", "all")]
    rows += [row(f"{g}-shot", result["edges"][g], result["classes_in_group"][g], g, g) for g in SHOTS]
    rows += [[f"{third} third", "", "", percent(value), "", "", ""] for third, value in result["thirds"].items()]
    caption = (
        "In %: mean recall over the classes; expected calibration error of their test images; n/a: no such class. "
        "Thirds are of the classes by training images."
    )
    return {"caption": caption, **told(columns, rows, always=5)}


def _answers(classes: Sequence[Result], evidence: Evidence) -> dict[str, Any]:
    """What single answers add to the page."""
    names, counts = [row["name"] for row in classes], torch.tensor([row["train"] for row in classes])
    group = group_of(counts)
    kept = evidence.labels != IGNORE
    labels, predictions, confidence = evidence.labels[kept], evidence.predictions[kept], evidence.confidence[kept]
    own = {"all classes": torch.ones_like(kept[kept])} | {f"{g}-shot": group[labels] == i for i, g in enumerate(SHOTS)}
    confused = confusions(labels, predictions)
    worst, rarest = worst_and_rarest(classes, IMAGES)
    where, how = flat(evidence.features)
    of = [(int(evidence.labels[i]), int(evidence.predictions[i])) for i in evidence.mapped]
    notes = [names[t] if t == p else f"{names[t]}, taken for {names[p]}" for t, p in of]
    order = sorted(range(len(names)), key=lambda c: (-int(counts[c]), c))
    return {
        "reliability": [
            charts.calibration(metrics.reliability(confidence[m], predictions[m], labels[m]), title, max(i - 1, 0))
            for i, (title, m) in enumerate(own.items())
            if bool(m.any())
        ],
        "flow": _flow(flow(labels, predictions, counts)),
        "confused": [
            [names[t], names[p], str(n), percent(n / classes[t]["test"]), f"{SHOTS[group[t]]} → {SHOTS[group[p]]}"]
            for t, p, n in confused[:CONFUSED]
        ],
        "kinds": len(confused),
        "heat": charts.heat(charts.matrix(labels, predictions, order), [names[c] for c in order])
        if len(names) <= charts.CELLS
        else None,
        "pairs": [gallery.of_pair(evidence, pair, names) for pair in pairs(confused)[:SHELVES]],
        "worst": [gallery.of_class(evidence, c, heading(classes[c], IMAGES), names) for c in worst],
        "rarest": [gallery.of_class(evidence, c, heading(classes[c], IMAGES), names) for c in rarest],
        "map": charts.places(where, [int(group[t]) for t, _ in of], notes, how),
        "how": how,
        "mapped": len(of),
        "tested": len(labels),
    }


def _flow(to: torch.Tensor) -> list[dict[str, Any]]:
    """A row for each shot group with test images: how many, and the shares of each end."""
    return [
        {"name": f"{name}-shot", "n": total, "ends": [(share, percent(share)) for share in (to[g] / total).tolist()]}
        for g, name in enumerate(SHOTS)
        if (total := int(to[g].sum()))
    ]
