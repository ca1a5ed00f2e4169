"""What HTML reports share: the frame of a page that needs nothing but itself, a plot, and pictures inside it."""

import base64
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from tailwise.report.names import plain

WIDTH, HEIGHT = 560, 400
LEFT, RIGHT, TOP, BOTTOM = 46, 548, 56, 350
"""The plot, and the sides of the field inside it, in units of its own; type is 12 high."""

CHARACTER = 6.6
"""Width of a letter, about."""

LABELLED = 200
"""Points that a plot names at most, as far as there is room; of more, none."""

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    kinds: dict[str, Any] = {"autoescape": True, "undefined": jinja2.StrictUndefined, "finalize": plain}
    return jinja2.Environment(loader=loader, trim_blocks=True, **kinds)


def render(template: str, **values: object) -> str:
    """A page of ``templates/``; text among the values is escaped, whatever is in it."""
    return _environment().get_template(template).render(**values)


@cache
def script() -> tuple[Markup, str]:
    """The one script of our pages, and its hash: the page's policy lets the browser run nothing else."""
    text = (TEMPLATES / "script.html").read_text(encoding="utf-8")
    return Markup(text), f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


class Picture(NamedTuple):
    """An image as a page holds it."""

    source: str  # a data: address
    width: int
    height: int


def picture(pixels: NDArray[np.uint8], kind: str) -> Picture:
    """``pixels`` (H, W, 3) as "JPEG", for photographs, or "PNG", for flat colours."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=80, optimize=True)
    text = base64.b64encode(file.getvalue()).decode()
    return Picture(f"data:image/{kind.lower()};base64,{text}", pixels.shape[1], pixels.shape[0])


class Point(NamedTuple):
    """One thing in a scatter plot."""

    name: str
    x: float  # above 0
    y: float  # in [0, 1]
    series: int  # which of the series it belongs to: 0, 1 or 2
    note: str  # what is said when it is pointed at
    size: float = 1.0  # of its mark, by length


class Label(NamedTuple):
    """Where a name stands."""

    x: float
    y: float
    anchor: str


class Dot(NamedTuple):
    """A point in the plot's own units; its label is left out where others take the room."""

    name: str
    x: float
    y: float
    series: int
    note: str
    label: Label | None
    size: float = 1.0


class Bar(NamedTuple):
    """A rectangle in the plot's own units."""

    x: float
    y: float
    width: float
    height: float
    series: int
    note: str
    opacity: float = 1.0
    text: str = ""  # written upwards from its foot


class Line(NamedTuple):
    """A line through points, in the plot's own units."""

    points: Sequence[tuple[float, float]]
    style: str  # "line0" to "line2" in the colours of the series, or "thin" or "edge"

    @property
    def path(self) -> str:
        """As SVG writes it."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


@dataclass(frozen=True)
class Plot:
    """What the template draws, in the plot's own units."""

    alt: str
    x_label: str
    y_label: str
    across: list[tuple[float, str]]
    upwards: list[tuple[float, str]]
    edges: list[float]
    key: list[tuple[float, str]]
    dots: list[Dot]
    lines: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    rows: list[tuple[float, str]] = field(default_factory=list)  # names over the rows of the field, from its left side
    over: list[tuple[float, str]] = field(default_factory=list)  # names over the columns of the field, written upwards
    grid: bool = True  # whether a line goes through the field at every number of the axes
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


def short(name: str, limit: int = 24) -> str:
    """A name as far as it has room."""
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _share(value: float) -> str:
    return f"{100 * value:.12g} %"


def scatter(
    points: Sequence[Point],
    series: Sequence[str],
    x_label: str,
    y_label: str,
    alt: str,
    edges: Iterable[float] = (),
    written: Callable[[float], str] = _share,
    trend: Sequence[tuple[float, float]] = (),
) -> Plot:
    """``y`` upwards from 0 to 100 %, ``x`` on a logarithmic axis, with dashed lines at the ``edges``.

    Up to three series, each with a colour and a shape of its own, in the order of ``series``. ``written`` says how the
    numbers of the x axis are: as shares, if nothing else is said. ``trend`` is a line through points of its own.
    """
    edges = list(edges)
    low, high = _range([point.x for point in points] + edges)

    def x(value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (math.log(value) - low) / (high - low), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * value, 1)

    places = [(x(point.x), y(point.y)) for point in points]
    few = len(points) <= LABELLED
    labels = _labels([point.name for point in points], places) if few else [None] * len(points)
    return Plot(
        alt,
        x_label,
        y_label,
        across=[(x(tick), written(tick)) for tick in _ticks(low, high)],
        upwards=[(y(tick / 5), f"{20 * tick} %") for tick in range(6)],
        edges=[x(edge) for edge in edges],
        key=legend(series, LEFT),
        dots=[
            Dot(point.name, *place, point.series, point.note, label, point.size)
            for point, place, label in zip(points, places, labels, strict=True)
        ],
        lines=[Line([(x(across), y(up)) for across, up in trend], "trend")] if trend else [],
    )


def legend(series: Sequence[str], left: float) -> list[tuple[float, str]]:
    """Where the key's marks stand, side by side from ``left``, and what they mean; with room for the larger type of a phone."""
    starts = [left + 6 + sum(9.4 * len(before) + 34 for before in series[:i]) for i in range(len(series))]
    return list(zip(starts, series, strict=True))


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Of the axis, as logarithms: all values with a twentieth on both sides, at least a factor of two."""
    logs = [math.log(value) for value in values] or [math.log(0.01), 0.0]
    margin = max((max(logs) - min(logs)) / 20, math.log(2) / 2)
    return min(logs) - margin, max(logs) + margin


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten in a range of logarithms, or only the powers where those are many."""
    decades = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
    for steps in ((1, 2, 5), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= math.log(step * 10.0**decade) <= high]
        if len(ticks) <= 8:
            break
    return ticks


def _labels(names: Sequence[str], places: Sequence[tuple[float, float]]) -> list[Label | None]:
    """A place for each name beside, above or below its point, clear of all points and of the names before it."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    labels: list[Label | None] = []
    for name, (x, y) in zip(names, places, strict=True):
        long = CHARACTER * len(name)
        tries = {
            Label(x + 9, y + 4, "start"): (x + 9, y - 7, x + 9 + long, y + 6),
            Label(x - 9, y + 4, "end"): (x - 9 - long, y - 7, x - 9, y + 6),
            Label(x, y - 10, "middle"): (x - long / 2, y - 20, x + long / 2, y - 8),
            Label(x, y + 19, "middle"): (x - long / 2, y + 8, x + long / 2, y + 21),
        }
        label = next((label for label, box in tries.items() if _free(box, taken)), None)
        if label:
            taken.append(tries[label])
        labels.append(label)
    return labels


Box = tuple[float, float, float, float]


def _free(box: Box, taken: Iterable[Box]) -> bool:
    """Whether left, top, right, bottom are inside the field and meet nothing."""
    inside = box[0] >= LEFT and box[2] <= RIGHT and box[1] >= TOP - 4 and box[3] <= BOTTOM + 4
    return inside and not any(box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken)
