"""The report of a run that labels images: figures, answers and pictures on one page, for 2 classes or for thousands."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tailwise import metrics
from tailwise.counts import FEW, MANY
from tailwise.files import write_whole
from tailwise.report import charts, gallery, words
from tailwise.report.evidence import Evidence, confusions, flat, flow, group_of, pairs
from tailwise.report.figures import SHOTS
from tailwise.report.page import render, script
from tailwise.report.text import percent
from tailwise.types import IGNORE

SHELVES, CONFUSED, ROWS = 6, 20, 10_000
"""Classes or pairs with pictures, rows of the most frequent errors, and of the table of classes, at most."""

Result = Mapping[str, Any]
Log = Sequence[Mapping[str, Any]]


def image_report(
    result: Result, evidence: Evidence | None = None, log: Log = (), manifest: Mapping[str, Any] | None = None
) -> str:
    """One HTML page that needs nothing else, from the result block of `tailwise.evaluate.result`.

    ``evidence`` adds what is about single answers, ``log`` (the run's metrics) the training curves, and ``manifest`` how
    to repeat the run. Names are escaped. Takes seconds and at most some megabytes for ten thousand classes.
    """
    classes = result["per_class"]
    counts = torch.tensor([row["train"] for row in classes])
    groups: list[int] = group_of(counts).tolist()
    facts = [f"{key} {result[key]}" for key in ("data", "seed", "epochs") if key in result]
    facts += [f"{result['seconds']:.0f} seconds of training"] if "seconds" in result else []
    about = (
        None
        if manifest is None
        else json.dumps({k: v for k, v in manifest.items() if k != "data"}, indent=2, ensure_ascii=False)
    )
    return render(
        "images.html",
        script=script(),
        title=f"{result.get('recipe', 'Image recognition')}: a report",
        facts=", ".join(facts),
        summary=words.summary(result),
        warnings=words.warnings(result, evidence, log),
        frequency=charts.frequency(classes, groups),
        frequency_note=_frequency_note(classes),
        groups=_groups(result, evidence),
        curves=_curves(log),
        classes=_classes(classes, groups),
        command=(manifest or {}).get("command"),
        sha256=(manifest or {}).get("data", {}).get("sha256"),
        manifest=about,
        **({"answers": None} if evidence is None else {"answers": _answers(classes, counts, evidence)}),
    )


def write(
    path: Path, result: Result, evidence: Evidence | None = None, log: Log = (), manifest: Mapping[str, Any] | None = None
) -> None:
    """Write `image_report` to a file, whole or not at all; raises `TailwiseError` when it cannot be."""
    write_whole(path, image_report(result, evidence, log, manifest).encode(errors="replace"))


def _frequency_note(classes: Sequence[Result]) -> str:
    left_out = [row["name"] for row in classes if row["recall"] is None or row["train"] == 0]
    note = f"Dashed lines: the edges of the shot groups, {FEW} and {MANY} training images."
    if len(classes) - len(left_out) > charts.SINGLE:
        note += " Classes that lie together share a mark, the larger the more they are; the line is their mean."
    return note + (f" Not drawn, for want of training or test images: {words.named(left_out)}." if left_out else "")


def _groups(result: Result, evidence: Evidence | None) -> dict[str, Any]:
    """A table of the shot groups, and of the thirds."""
    gap, post_hoc = result.get("gap") or {}, result.get("post_hoc") or {}
    columns = ["group", "training images", "classes", "recall", "ECE", "train − test", "adjusted recall"]

    def row(name: str, edges: str, n: int, key: str, group: str) -> list[str]:
        shares = [percent(block.get(key)) for block in (result, post_hoc)]
        return [name, edges, str(n), shares[0], percent(result["ece"][group]), percent(gap.get(group), "+"), shares[1]]

    rows = [row("all", "", len(result["per_class"]), "balanced", "all")]
    rows += [row(f"{g}-shot", result["edges"][g], result["classes_in_group"][g], g, g) for g in SHOTS]
    rows += [[f"{third} third", "", "", percent(value), "", "", ""] for third, value in result["thirds"].items()]
    kept = [i for i in range(len(columns)) if i < 5 or any(row[i] not in ("", "n/a") for row in rows)]
    return {"columns": [columns[i] for i in kept], "rows": [[row[i] for i in kept] for row in rows]}


def _curves(log: Log) -> list[Any]:
    titles = {
        "loss_epoch": "Training loss",
        "val_balanced": "Balanced accuracy, validation",
        "test_balanced": "Balanced accuracy, test",
    }
    found = {key: [(row["epoch"] + 1, row[key]) for row in log if key in row and row[key] == row[key]] for key in titles}
    return [
        charts.curve(values, titles[key], 2 if key == "loss_epoch" else 0, share=key != "loss_epoch")
        for key, values in found.items()
        if values
    ]


def _classes(classes: Sequence[Result], groups: Sequence[int]) -> dict[str, Any]:
    """The table of every class: the lowest recalls first."""
    order = sorted(
        range(len(classes)), key=lambda c: (classes[c]["recall"] is None, classes[c]["recall"] or 0, classes[c]["train"])
    )
    rows = [
        [row["name"], percent(row["recall"]), percent(row["precision"]), SHOTS[groups[c]], str(row["train"]), str(row["test"])]
        for c in order[:ROWS]
        for row in [classes[c]]
    ]
    caption = "In %, the lowest recall first; n/a: no such image."
    if len(order) > ROWS:
        caption += f" The first {ROWS:,} of {len(order):,} classes; result.json has all of them."
    return {
        "caption": caption,
        "columns": ["class", "recall", "precision", "group", "training images", "test images"],
        "rows": rows,
    }


def _answers(classes: Sequence[Result], counts: torch.Tensor, evidence: Evidence) -> dict[str, Any]:
    """What single answers add to the page."""
    names, group = [row["name"] for row in classes], group_of(counts)
    kept = evidence.labels != IGNORE
    labels, predictions, confidence = evidence.labels[kept], evidence.predictions[kept], evidence.confidence[kept]
    own = {"all classes": torch.ones_like(kept[kept])} | {f"{g}-shot": group[labels] == i for i, g in enumerate(SHOTS)}
    confused = confusions(labels, predictions)
    tested = sorted((c for c in range(len(names)) if classes[c]["test"]), key=lambda c: (-int(counts[c]), c))
    worst = sorted((c for c in tested if classes[c]["recall"] < 1), key=lambda c: (classes[c]["recall"], int(counts[c])))[
        :SHELVES
    ]
    rarest = sorted((c for c in tested if c not in worst), key=lambda c: int(counts[c]))[:SHELVES]
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
        "worst": [gallery.of_class(evidence, c, _title(classes[c]), names) for c in worst],
        "rarest": [gallery.of_class(evidence, c, _title(classes[c]), names) for c in rarest],
        "map": charts.places(where, [int(group[t]) for t, _ in of], notes, how),
        "how": how,
        "mapped": len(of),
        "tested": len(labels),
    }


def _title(row: Result) -> str:
    return f"{row['name']}: recall {percent(row['recall'])} %, {words.several(row['train'], 'training image')}"


def _flow(to: torch.Tensor) -> list[dict[str, Any]]:
    """A row for each shot group with test images: how many, and the shares of each end."""
    return [
        {"name": f"{name}-shot", "n": total, "ends": [(share, percent(share)) for share in (to[g] / total).tolist()]}
        for g, name in enumerate(SHOTS)
        if (total := int(to[g].sum()))
    ]
