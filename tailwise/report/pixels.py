"""The report of a run that segments pixels: IoU against pixel share, every class, and the worst images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tailwise.files import write_whole
from tailwise.report import doctor
from tailwise.report.colours import colours, hexadecimal
from tailwise.report.figures import SHARES
from tailwise.report.names import legible
from tailwise.report.page import Picture, Point, picture, render, scatter
from tailwise.report.text import percent
from tailwise.types import IGNORE

SIDE = 400
"""Longer side of a picture on the page, in pixels."""

ROOM = 1_500_000
"""Characters that pictures may take on a page."""

LIGHT, DARK = (176, 176, 176), (112, 112, 112)
"""Stripes of what is ignored."""

Result = Mapping[str, Any]


Example = tuple[str, float | None, Tensor, Tensor, Tensor]
"""A judged image: its name, its own mIoU, (H, W, 3) uint8, truth (H, W) with IGNORE, prediction (H, W)."""


class Part(NamedTuple):
    """One picture of an example."""

    what: str
    alt: str
    source: str
    width: int
    height: int


def pixel_report(result: Result, examples: Sequence[Example] = (), limit: int = 12) -> str:
    """One HTML page that needs nothing else, from `tailwise.metrics.segmentation_summary` and what a run adds to it.

    Of the ``examples`` the ``limit`` of lowest mIoU are shown, the worst first, as far as they fit into `ROOM`. Names are
    escaped. The run's ``recipe``, ``data``, ``seed``, ``epochs`` and ``seconds`` stand on top where the result has them.
    """
    result = legible(result)
    classes, facts = result["per_class"], [f"{key} {result[key]}" for key in ("data", "seed", "epochs") if key in result]
    facts += [f"{result['seconds']:.0f} seconds of training"] if "seconds" in result else []
    drawn = [row for row in classes if row["iou"] is not None and row["share"] > 0]
    points = [Point(row["name"], row["share"], row["iou"], SHARES.index(row["group"]), _note(row)) for row in drawn]
    alt = "IoU of each class against its share of the training pixels; the table below has the same figures"
    axes = ("Share of the labelled training pixels, logarithmic", "IoU")
    edges = [1 / len(classes), 1 / (4 * len(classes))]
    plot = scatter(points, SHARES, *axes, alt, edges)
    shown, key = _shown(examples, [row["name"] for row in classes], limit)
    return render(
        "pixels.html",
        title=f"{result.get('recipe', 'Segmentation')}: IoU by class",
        facts=", ".join(facts),
        summary=_summary(result),
        doctor=doctor.section(result),
        plot=plot,
        plot_note=_plot_note(len(classes), [row["name"] for row in classes if row not in drawn]),
        caption="Shares in %, classes by their share of the training pixels, n/a: no such pixel",
        **_table(classes),
        examples=shown,
        examples_note=f"{len(shown)} of {len(examples)} images, lowest mIoU first; it is that of the image alone.",
        key=key,
    )


def write(path: Path, result: Result, examples: Sequence[Example] = ()) -> None:
    """Write `pixel_report` to a file, whole or not at all; raises `TailwiseError` when it cannot be."""
    write_whole(path, pixel_report(result, examples).encode())


def _note(row: Result) -> str:
    figures = f"IoU {percent(row['iou'])} %, accuracy {percent(row['accuracy'])} %, precision {percent(row['precision'])} %"
    return f"{row['name']}: {figures}, {_share(row['share'])} % of the training pixels ({row['group']})"


def _share(share: float) -> str:
    """In percent with two decimals, or what is left below them: rare classes are what matters."""
    return f"{100 * share:.2f}" if share >= 1e-4 or share == 0 else f"{100 * share:.1g}"


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")  # a narrow space


def _summary(result: Result) -> list[str]:
    """The result in words."""
    classes, worst, tail = result["per_class"], result["worst"], result["groups"]["tail"]
    judged = [row for row in classes if row["iou"] is not None]
    pixels = _thousands(sum(row["test"] for row in classes))
    lines = [
        f"Mean IoU is {percent(result['miou'])} % over {len(judged)} classes and pixel accuracy "
        f"{percent(result['pixel_accuracy'])} %, on {pixels} labelled test pixels.",
        "By share of the training pixels, mean IoU is "
        + ", ".join(f"{percent(g['miou'])} % for the {g['classes']} {name}" for name, g in result["groups"].items())
        + " classes.",
    ]
    if tail["accuracy"] is not None and tail["precision"] is not None:
        missed, wrong = "what is missed", "what is wrongly called rare"
        more, less = (wrong, missed) if tail["precision"] < tail["accuracy"] else (missed, wrong)
        figures = f"recall is {percent(tail['accuracy'])} % and its precision {percent(tail['precision'])} %"
        lines.append(f"The tail's {figures} (means over its classes): {more} costs more than {less}.")
    if post_hoc := result.get("post_hoc"):
        lines.append(
            f"Adjusted to equally frequent classes, mean IoU is {percent(post_hoc['miou'])} %, the tail's "
            f"{percent(post_hoc['tail']['miou'])} %, and {percent(post_hoc['tail']['accuracy'])} % of its pixels are found."
        )
    if worst:
        row = next(row for row in classes if row["name"] == worst["name"])
        lines.append(
            f"The lowest IoU is {percent(worst['iou'])} %, of {worst['name']}: {percent(row['accuracy'])} % of its pixels are "
            f"found, and {percent(row['precision'])} % of what is called so is right."
        )
    return lines


def _plot_note(classes: int, left_out: Sequence[str]) -> str:
    note = f"Dashed lines: an equal share, 1/{classes}, where the head begins, and a quarter of it, where the tail ends."
    return note + (f" Not drawn, for want of pixels: {', '.join(left_out)}." if left_out else "")


def _table(classes: Sequence[Result]) -> dict[str, Any]:
    keys = [key for key in ("iou", "accuracy", "precision", "boundary_f") if key in classes[0]]
    titles = {"iou": "IoU", "accuracy": "accuracy", "precision": "precision", "boundary_f": "boundary F"}
    rows = [
        [row["name"], *(percent(row[key]) for key in keys), _share(row["share"]), row["group"], _thousands(row["test"])]
        for row in sorted(classes, key=lambda row: -float(row["share"]))
    ]
    return {"columns": ["class", *(titles[key] for key in keys), "training share", "group", "test pixels"], "rows": rows}


def _shown(examples: Sequence[Example], names: Sequence[str], limit: int) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The worst examples as pictures, and the colours that occur in them."""
    palette, room = colours(len(names)), ROOM
    shown: list[dict[str, Any]] = []
    seen: set[int] = set()
    for name, miou, image, *masks in sorted(examples, key=lambda example: _or_last(example[1]))[:limit]:
        truth, prediction = (mask.numpy() for mask in masks)
        parts = [
            Part("image", name, *_photograph(image.numpy())),
            Part("truth", f"truth: {_contents(truth, names)}", *_mask(truth, palette)),
            Part("prediction", f"prediction: {_contents(prediction, names)}", *_mask(prediction, palette)),
        ]
        room -= sum(len(part.source) for part in parts)
        if room < 0:
            break
        shown.append({"title": f"{name}, mIoU {percent(None if _or_last(miou) > 1 else miou)} %", "parts": parts})
        seen |= {*np.unique(truth).tolist(), *np.unique(prediction).tolist()}
    stripes = f"repeating-linear-gradient(135deg,rgb{LIGHT} 0 3px,rgb{DARK} 3px 6px)"
    key = [(names[c], hexadecimal(palette[c])) for c in sorted(seen - {IGNORE})]
    return shown, key + ([("ignored", stripes)] if IGNORE in seen else [])


def _or_last(miou: float | None) -> float:
    """Above any mIoU where there is none: an image without a label is not the worst."""
    return 2.0 if miou is None or miou != miou else miou


def _fitted(height: int, width: int) -> tuple[int, int]:
    """Width and height with the longer side at most `SIDE`."""
    scale = min(SIDE / max(height, width), 1)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _photograph(image: NDArray[np.uint8]) -> Picture:
    return picture(np.asarray(Image.fromarray(image).resize(_fitted(*image.shape[:2]), Image.Resampling.BOX)), "JPEG")


def _mask(mask: NDArray[np.int64], palette: NDArray[np.uint8]) -> Picture:
    """In colours, with diagonal stripes where it is IGNORE."""
    width, height = _fitted(*mask.shape)
    rows, columns = (np.arange(n) * side // n for n, side in ((height, mask.shape[0]), (width, mask.shape[1])))
    small = mask[rows][:, columns]
    stripes = (np.add.outer(np.arange(height), np.arange(width)) // 4 % 2)[..., None]
    ignored = np.where(stripes, LIGHT, DARK).astype(np.uint8)
    return picture(np.where((small == IGNORE)[..., None], ignored, palette[np.maximum(small, 0)]), "PNG")


def _contents(mask: NDArray[np.int64], names: Sequence[str]) -> str:
    """The three largest classes of a mask in words."""
    found, counts = np.unique(mask[mask != IGNORE], return_counts=True)
    largest = np.argsort(-counts, kind="stable")[:3]
    return ", ".join(f"{names[found[i]]} {100 * counts[i] / mask.size:.0f} %" for i in largest) or "nothing labelled"
