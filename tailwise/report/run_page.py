"""What the pages of runs for images share: what was run, figures against frequency, curves, every class, how to repeat it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tailwise.report import charts, doctor, frequency
from tailwise.report.evidence import group_of
from tailwise.report.figures import Figures
from tailwise.report.page import script
from tailwise.report.text import percent
from tailwise.report.words import named, several

SHELVES, ROWS = 6, 10_000
"""Classes with pictures, and rows of the table of classes, at most."""

Result = Mapping[str, Any]
Log = Sequence[Mapping[str, Any]]


def shared(
    result: Result, shown: Figures, called: str, log: Log, manifest: Mapping[str, Any] | None, remark: str = ""
) -> dict[str, Any]:
    """The values of ``templates/run.html`` but for its words and its groups.

    ``called`` is what the main figure is called, ``remark`` what else is to be said of the table of every class.
    """
    classes, manifest = result["per_class"], manifest or {}
    groups: list[int] = group_of(torch.tensor([row["train"] for row in classes])).tolist()
    facts = [f"{key} {result[key]}" for key in ("data", "seed", "epochs") if key in result]
    facts += [f"{result['seconds']:.0f} seconds of training"] if "seconds" in result else []
    versions = {key: value for key, value in manifest.items() if key != "data"}
    return {
        "script": script(),
        "title": f"{result.get('recipe', 'Image recognition')}: a report",
        "facts": ", ".join(facts),
        "frequency": frequency.frequency(classes, groups, shown),
        "frequency_title": f"{frequency.capital(shown.main[0])} against frequency",
        "frequency_note": frequency.about(classes, shown),
        "curves": _curves(log, shown.headline, called),
        "doctor": doctor.section(result),
        "classes": _classes(classes, groups, shown, remark),
        "command": manifest.get("command"),
        "sha256": manifest.get("data", {}).get("sha256"),
        "manifest": json.dumps(versions, indent=2, ensure_ascii=False) if manifest else None,
    }


def told(columns: Sequence[str], rows: Sequence[Sequence[str]], always: int) -> dict[str, Any]:
    """A table of groups without the columns, after the first ``always``, that say nothing in any row."""
    kept = [i for i in range(len(columns)) if i < always or any(row[i] not in ("", "n/a") for row in rows)]
    return {"columns": [columns[i] for i in kept], "rows": [[row[i] for i in kept] for row in rows]}


def heading(row: Result, shown: Figures) -> str:
    """What stands over the pictures of a class."""
    title, key = shown.main
    return f"{row['name']}: {title} {percent(row[key])} %, {several(row['train'], 'training image')}"


def worst_and_rarest(classes: Sequence[Result], shown: Figures) -> tuple[list[int], list[int]]:
    """The tested classes of lowest figure, as far as they are not perfect, and the rarest of the others: `SHELVES` of each."""
    key = shown.main[1]
    tested = sorted((c for c, row in enumerate(classes) if row["test"]), key=lambda c: classes[c]["train"])
    worst = sorted((c for c in tested if classes[c][key] < 1), key=lambda c: float(classes[c][key]))[:SHELVES]
    return worst, [c for c in tested if c not in worst][:SHELVES]


def untested(classes: Sequence[Result]) -> str:
    """Why there is no picture of the classes without a test image, the rarest first; empty where each has one."""
    rows = sorted((row for row in classes if not row["test"]), key=lambda row: int(row["train"]))
    names = [f"{row['name']} ({several(row['train'], 'training image')})" for row in rows]
    without = "Without a test image, so without a picture (pages show test images, never training images)"
    return f"{without}: {named(names)}." if names else ""


def _curves(log: Log, figure: str, title: str) -> list[Any]:
    titles = {"loss_epoch": "Training loss", f"val_{figure}": f"{title}, validation", f"test_{figure}": f"{title}, test"}
    found = {key: [(row["epoch"] + 1, row[key]) for row in log if row.get(key) is not None] for key in titles}
    return [
        charts.curve(values, titles[key], 2 if key == "loss_epoch" else 0, share=key != "loss_epoch")
        for key, values in found.items()
        if values
    ]


def _classes(classes: Sequence[Result], groups: Sequence[int], shown: Figures, remark: str) -> dict[str, Any]:
    """The table of every class: the lowest main figures first."""
    title, key = shown.main
    order = sorted(range(len(classes)), key=lambda c: (classes[c][key] is None, classes[c][key] or 0, classes[c]["train"]))
    rows = []
    for c in order[:ROWS]:
        row = classes[c]
        shares = [percent(row[key]) for key in shown.of_class.values()]
        rows.append([row["name"], *shares, shown.groups[groups[c]], str(row["train"]), str(row["test"])])
    caption = f"In %, the lowest {title} first; n/a: no such image.{remark}"
    if len(order) > ROWS:
        caption += f" The first {ROWS:,} of {len(order):,} classes; result.json has all of them."
    columns = ["class", *shown.of_class, "group", "training images", "test images"]
    return {"caption": caption, "columns": columns, "rows": rows}
