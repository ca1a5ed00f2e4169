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
from tailwise.report.names import legible
from tailwise.report.page import Plot, render
from tailwise.report.run_page import SHELVES, Log, Result, heading, shared, told, untested, worst_and_rarest
from tailwise.report.text import percent
from tailwise.report.words import several
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
    result = legible(result)
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
    gap, shipped = result.get("gap") or {}, result.get("shipped") or {}
    adjusted = {} if shipped else result.get("post_hoc") or {}  # predict answers for equally frequent classes as well
    titles = ["predict: recall", "predict: ECE", "raw ECE" if shipped else "ECE", "train − test", "adjusted recall"]
    columns = ["group", "recall", *titles, "training images", "classes"]

    def row(name: str, edges: str, n: int, key: str, group: str) -> list[str]:
        shares = (result[key], shipped.get(key), shipped.get("ece", {}).get(group), result["ece"][group])
        further = (percent(gap.get(group), "+"), percent(adjusted.get(key)))
        return [name, *map(percent, shares), *further, edges, str(n)]

    rows = [row("all", "", len(result["per_class"]), "balanced", "all")]
    rows += [row(f"{g}-shot", result["edges"][g], result["classes_in_group"][g], g, g) for g in SHOTS]
    caption = "In %: mean recall over the classes; expected calibration error of their test images; n/a: no such class."
    if shipped:
        caption += " What predict answers by default is meant for equally frequent classes, and calibrated; raw ECE is not."
    if words.has_thirds(result):
        rows += [[f"{third} third", percent(value), *[""] * 7] for third, value in result["thirds"].items()]
        caption += " Thirds are of the classes by training images."
    return {"caption": caption, **told(columns, rows, always=2)}


def _answers(classes: Sequence[Result], evidence: Evidence) -> dict[str, Any]:
    """What single answers add to the page."""
    names, counts = [row["name"] for row in classes], torch.tensor([row["train"] for row in classes])
    group = group_of(counts)
    kept = evidence.labels != IGNORE
    labels, predictions, shipped, sure = (
        column[kept] for column in (evidence.labels, evidence.predictions, evidence.shipped, evidence.sure)
    )
    own = {"all classes": torch.ones_like(kept[kept])} | {f"{g}-shot": group[labels] == i for i, g in enumerate(SHOTS)}
    confused = confusions(labels, predictions)
    worst, rarest = worst_and_rarest(classes, IMAGES)
    where, how = flat(evidence.features)
    of = [(int(evidence.labels[i]), int(evidence.predictions[i])) for i in evidence.mapped]
    notes = [names[t] if t == p else f"{names[t]}, taken for {names[p]}" for t, p in of]
    order = sorted(range(len(names)), key=lambda c: (-int(counts[c]), c))
    return {
        "reliability": [
            _reliability(sure[m], shipped[m], labels[m], title, max(i - 1, 0))
            for i, (title, m) in enumerate(own.items())
            if bool(m.any())
        ],
        "sure": f"with the predicted class and the probability that predict gives it{_other(shipped, predictions)}.",
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
        "untested": untested(classes),
        "map": charts.places(where, [int(group[t]) for t, _ in of], notes, how),
        "how": how,
        "mapped": len(of),
        "tested": len(labels),
    }


def _reliability(sure: torch.Tensor, found: torch.Tensor, labels: torch.Tensor, title: str, series: int) -> Plot:
    """The diagram of some answers, with how many they are and their calibration error."""
    said = f"{title}, {several(len(labels), 'image')}: ECE {percent(metrics.ece(sure, found, labels))}"
    return charts.calibration(metrics.reliability(sure, found, labels), said, series)


def _other(shipped: torch.Tensor, predictions: torch.Tensor) -> str:
    """What has to be said where users are told another class than the model's own."""
    n = int((shipped != predictions).sum())
    return f"; of {several(n, 'image')} it names another class, which stands in brackets" if n else ""


def _flow(to: torch.Tensor) -> list[dict[str, Any]]:
    """A row for each shot group with test images: how many, and the shares of each end."""
    return [
        {"name": f"{name}-shot", "n": total, "ends": [(share, percent(share)) for share in (to[g] / total).tolist()]}
        for g, name in enumerate(SHOTS)
        if (total := int(to[g].sum()))
    ]
