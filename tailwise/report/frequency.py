"""How good each class is against how many training images it has: one plot, for a few classes or for thousands."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from tailwise.counts import FEW, MANY
from tailwise.report.figures import Figures
from tailwise.report.page import Plot, Point, scatter, short
from tailwise.report.text import percent
from tailwise.report.words import named, several

SINGLE = 300
"""Classes that get a mark of their own; more are drawn together where they lie together."""

Row = Mapping[str, Any]
Drawn = Sequence[tuple[Row, int]]
"""Classes with the numbers of their groups."""


def frequency(rows: Sequence[Row], groups: Sequence[int], shown: Figures) -> Plot:
    """The main figure of each class against its training images; ``groups`` are 0 to 2 for each row."""
    title, key = shown.main
    drawn = [(row, g) for row, g in zip(rows, groups, strict=True) if row[key] is not None and row["train"] > 0]
    points = [Point(short(row["name"]), row["train"], row[key], g, _note(row, shown)) for row, g in drawn]
    trend: list[tuple[float, float]] = []
    if len(points) > SINGLE:
        points, trend = _together(drawn, shown), _trend([(row["train"], row[key]) for row, _ in drawn])
    alt = f"{capital(title)} of each class against its number of training images; the table of every class has the same figures"
    edges = [edge for edge in (FEW, MANY) if points and min(p.x for p in points) < edge < max(p.x for p in points)]
    across = "Training images of the class, logarithmic"
    return scatter(points, shown.groups, across, capital(title), alt, edges, "{:,.12g}".format, trend)


def about(rows: Sequence[Row], shown: Figures) -> str:
    """What has to be said of the plot."""
    left_out = [row["name"] for row in rows if row[shown.main[1]] is None or row["train"] == 0]
    note = f"Dashed lines: the edges of the groups of classes, {FEW} and {MANY} training images."
    if len(rows) - len(left_out) > SINGLE:
        note += " Classes that lie together share a mark, the larger the more they are; the line is their mean."
    return note + (f" Not drawn, for want of training or test images: {named(left_out)}." if left_out else "")


def capital(title: str) -> str:
    """A title at the start of a line."""
    return title[:1].upper() + title[1:]


def _note(row: Row, shown: Figures) -> str:
    figures = ", ".join(f"{title} {percent(row[key])} %" for title, key in shown.of_class.items())
    return f"{row['name']}: {figures}, {several(row['train'], 'training image')}, {several(row['test'], 'test image')}"


def _together(drawn: Drawn, shown: Figures) -> list[Point]:
    """One point for the classes of a group whose counts and figures are nearly the same."""
    title, key = shown.main
    cells: dict[tuple[int, int, int], list[Row]] = {}
    for row, g in drawn:
        cells.setdefault((g, round(6 * math.log(row["train"])), round(20 * row[key])), []).append(row)
    points = []
    for (g, *_), rows in sorted(cells.items(), key=lambda item: -len(item[1])):  # large marks below small ones
        counts, mean = sorted(row["train"] for row in rows), fmean(row[key] for row in rows)
        names = named([row["name"] for row in rows], 8)
        between = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
        note = f"{several(len(rows), 'class')} with {between} training images, mean {title} {percent(mean)} %: {names}"
        x = math.exp(fmean(map(math.log, counts)))
        points.append(Point("", x, mean, g, _note(rows[0], shown) if len(rows) == 1 else note, _size(len(rows))))
    return points


def _trend(places: Sequence[tuple[int, float]], parts: int = 12) -> list[tuple[float, float]]:
    """Geometric mean of the counts and mean of the figures, of as many classes in each part, from rare to frequent."""
    ordered = sorted(places, key=lambda place: place[0])
    cuts = [len(ordered) * i // parts for i in range(parts + 1)]
    runs = [ordered[a:b] for a, b in pairwise(cuts)]
    return [(math.exp(fmean(math.log(count) for count, _ in run)), fmean(figure for _, figure in run)) for run in runs]


def _size(n: int) -> float:
    return round(min(0.6 + 0.25 * math.log(n), 2.2), 2)
