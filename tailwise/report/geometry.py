"""What `tailwise.train.study` found, in a report and in a terminal: a plot of each figure by shot group, with intervals."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tailwise.files import write_whole
from tailwise.models.saved import WEIGHTS
from tailwise.report.page import Dot, Line, Plot, render
from tailwise.types import TailwiseError

STUDY, PAGE = "study.json", "report.html"
BEGIN, END = "<!-- geometry -->", "<!-- end of geometry -->"
"""What a page has around the section, written anew with each study."""

GROUPS = ("all", "many", "medium", "few")
SPLITS = ("test", "train", "between")
NONE = "n/a"
Study = Mapping[str, Any]


class Told(NamedTuple):
    """A figure in words."""

    title: str
    says: str


THEMES: dict[str, dict[str, Told]] = {
    "What the features know": {
        "label_information": Told(
            "Label, nats",
            "what the features say of the class, at least: log C minus the loss of a linear probe on unseen images. "
            "Test: learned on other test images, as many of each class. Training to test: learned on the long tail. "
            "Below 0 the probe takes the class for others.",
        ),
        "instance_information": Told(
            "Instance, nats",
            "what one augmented view says of another view of the same image, at least: log N minus InfoNCE, never above log N. "
            "Compare runs with as many images only.",
        ),
    },
    "How tight the classes are": {
        "spread": Told(
            "Spread", "mean of 1 − cosine to the class mean: 0 is one point. Compare test with training: memorised is tight."
        ),
        "nc1": Told(
            "Within / between", "variance within the class over the variance of all class means: 0 where a class is one point."
        ),
        "margin": Told(
            "Margin, cosine",
            "own class mean minus nearest other, which 90 % of the class exceed; below 0 some are nearer to another.",
        ),
        "nearest_mean": Told(
            "Nearest mean, recall", "recall of the nearest mean of the training images, without the classifier."
        ),
    },
    "How the classes lie": {
        "balancedness": Told(
            "Imbalance of angles", "standard deviation of the cosines between class means: 0 where all are alike."
        ),
        "min_angle": Told("Smallest angle, degrees", "to the nearest class mean, of the worst class of the group."),
        "simplex_rms": Told(
            "Off the simplex", "root mean square of |cosine + 1/(C − 1)|: 0 for a regular simplex, the ideal of balance."
        ),
        "uniformity": Told(
            "Uniformity", "log mean e^(−2 d²) over pairs of images: the lower, the more of the sphere is in use."
        ),
        "alignment": Told("Alignment", "mean squared distance of two views of an image: 0 where augmentation changes nothing."),
    },
    "From training to test": {
        "gap": Told("Recall, train − test", "0 where unseen images are recognised as well as those that were learned."),
        "drift": Told(
            "Drift of the means", "1 − cosine between a class's mean in training and in test, without the noise of either."
        ),
        "drift_in_spread": Told(
            "Drift / spread", "the squared distance of the two means over the variance of the test images."
        ),
    },
    "Is a class one Gaussian?": {
        "henze_zirkler": Told(
            "Non-Gaussian, sd",
            "how far beyond the chance of Gaussian samples; 0 for a Gaussian class, whatever its number of images.",
        ),
        "kurtosis": Told("Kurtosis, excess", "above 0 heavy tails or outliers, below 0 several lumps."),
        "kernel_gain": Told(
            "Kernels − Gaussian, nats",
            "log-likelihood of unseen images, per dimension: above 0 a kernel on every image fits better than one Gaussian.",
        ),
        "anisotropy": Told(
            "Anisotropy",
            "1 where a class is as wide in every direction, the number of dimensions where it is a line.",
        ),
    },
}


def plot(shown: Told, found: Mapping[str, Any]) -> Plot:
    """One figure by group, ``found`` by split; bars are 95 % intervals."""
    left, right, top, bottom = 46, 258, 44, 220
    series = {"test": 0, "train": 1, "between": 2 if "test" in found else 0}
    cells = [(split, group, cell) for split, figure in found.items() for group in GROUPS if (cell := figure.get(group))]
    numbers = [cell[key] for _, _, cell in cells for key in ("value", "low", "high") if cell[key] is not None] or [0.0]
    low, high, step = _axis(min(numbers), max(numbers))

    def y(value: float) -> float:
        return round(bottom - (bottom - top) * (value - low) / (high - low), 1)

    def x(split: str, group: str) -> float:
        place = GROUPS.index(group) + (list(found).index(split) + 1) / (len(found) + 1)
        return round(left + (right - left) * place / len(GROUPS), 1)

    lines = [
        Line([(x(split, group), y(cell["low"])), (x(split, group), y(cell["high"]))], f"line{series[split]}")
        for split, group, cell in cells
        if cell["low"] is not None
    ]
    zero = [Line([(left, y(0)), (right, y(0))], "thin")] if low < 0 < high else []
    return Plot(
        f"{shown.title} by shot group",
        "",
        shown.title,
        across=[(round(left + (right - left) * (i + 0.5) / len(GROUPS), 1), group) for i, group in enumerate(GROUPS)],
        upwards=[(y(low + step * i), f"{low + step * i:.3g}") for i in range(round((high - low) / step) + 1)],
        edges=[],
        key=[],
        dots=[
            Dot("", x(split, group), y(cell["value"]), series[split], f"{named(split)}, {group}: {written(cell)}", None, 0.8)
            for split, group, cell in cells
        ],
        lines=[*zero, *lines],
        width=280,
        height=250,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
    )


def _axis(low: float, high: float) -> tuple[float, float, float]:
    """Ends and step of an axis with three to eight round numbers."""
    wide = max(high - low, 1e-9, 1e-6 * abs(high))
    power = 10.0 ** math.floor(math.log10(wide / 3))
    step = next(m * power for m in (1, 2, 5, 10) if wide / (m * power) <= 6)
    return math.floor(low / step) * step, max(math.ceil(high / step), math.floor(low / step) + 1) * step, step


def named(split: str) -> str:
    """A split in words."""
    return "training to test" if split == "between" else "training" if split == "train" else split


def written(cell: Mapping[str, Any] | None) -> str:
    """A figure with its interval."""
    if cell is None:
        return NONE
    value, low, high = _numbers(cell)
    return value if cell["low"] is None else f"{value} ({low} to {high})"


def _numbers(cell: Mapping[str, Any]) -> list[str]:
    """Value, low and high to three digits, without the noise of rounding."""
    return ["" if cell[key] is None else f"{round(cell[key], 6) + 0:.3g}" for key in ("value", "low", "high")]


def of(study: Study, name: str) -> dict[str, Any]:
    """A figure by split, where it has a value."""
    found = {split: study[split][name] for split in SPLITS if name in study.get(split, {})}
    return {split: figure for split, figure in found.items() if any(figure.values())}


def section(study: Study | None) -> str:
    """The section of a page; without a study, how to get one."""
    themes = [
        {
            "title": title,
            "figures": [(told, plot(told, found)) for name, told in figures.items() if (found := of(study, name))],
        }
        for title, figures in (THEMES.items() if study else ())
        if study
    ]
    return render("geometry.html", study=study, themes=[theme for theme in themes if theme["figures"]])


def renew(folder: Path) -> bool:
    """Put the study of a run's folder into its page, if both are there, and the study is of the model that lies there now."""
    page, study = folder / PAGE, folder / STUDY
    if not page.is_file() or not study.is_file() or not (folder / WEIGHTS).is_file():
        return False
    try:
        found = json.loads(study.read_text(encoding="utf-8"))
        if found["model"] != digest(folder):
            return False
        text = section(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TailwiseError(f"{study}: not a study ({error!r}); `tailwise study {folder}` writes it anew") from error
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return False
    write_whole(page, f"{before}{BEGIN}\n{text}{END}{after}".encode(errors="replace"))
    return True


def digest(folder: Path) -> str:
    """SHA-256 of the model of a run: a study of another one says nothing of it."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def text(studies: Mapping[str, Study]) -> str:
    """The figures of runs by name, as a table for a terminal: one below the other where they are several."""
    rows = [
        ["", *GROUPS],
        *(row for figures in THEMES.values() for name in figures for row in _rows(studies, name, figures[name])),
    ]
    shown = [column for column in zip(*rows, strict=True) if set(column[1:]) - {"", NONE}]
    wide = [max(map(len, column)) for column in shown]
    lines = ["  ".join(cell.ljust(n) for cell, n in zip(row, wide, strict=True)).rstrip() for row in zip(*shown, strict=True)]
    said = "[ ] is the 95 % interval, images resampled within their classes; none where classes have one or two images."
    return "\n".join([*lines, "", said])


def _rows(studies: Mapping[str, Study], name: str, told: Told) -> Iterator[Sequence[str]]:
    for split in SPLITS:
        found = {run: figure for run, study in studies.items() if (figure := of(study, name).get(split))}
        title = f"{told.title}: {named(split)}"
        if found and len(studies) > 1:
            yield [title, *[""] * len(GROUPS)]
        for run, figure in found.items():
            yield [f"  {run}" if len(studies) > 1 else title, *(_short(figure.get(group)) for group in GROUPS)]


def _short(cell: Mapping[str, Any] | None) -> str:
    """A figure and the ends of its interval, which need not lie alike on both sides."""
    if cell is None or cell["low"] is None:
        return written(cell)
    value, low, high = _numbers(cell)
    return f"{value} [{low}, {high}]"
