"""The plots of a report on images, each from plain numbers; `page.Plot` is what the templates draw."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tailwise.metrics import Reliability
from tailwise.report.figures import SHOTS
from tailwise.report.page import BOTTOM, CHARACTER, LEFT, RIGHT, TOP, Bar, Dot, Line, Plot, legend, short
from tailwise.report.text import percent
from tailwise.report.words import several

CELLS = 50
"""Classes of a heat map at most."""


def calibration(found: Reliability, title: str, series: int) -> Plot:
    """A reliability diagram: accuracy in each bin of the confidence and how many images it has, with the diagonal of truth."""
    left, right, top, bottom, bins = 46, 258, 30, 220, len(found.samples)
    wide = (right - left) / bins
    bars = []
    for b, (stated, accuracy, n) in enumerate(zip(*(column.tolist() for column in found), strict=True)):
        if n:
            note = f"probability {percent(stated)} %, {percent(accuracy)} % right, {several(n, 'image')}"
            high = max((bottom - top) * accuracy, 1)
            place = (round(left + b * wide + 0.5, 1), round(bottom - high, 1), round(wide - 1, 1), round(high, 1))
            bars.append(Bar(*place, series, note, text=f"{n:,}"))
    return Plot(
        f"Reliability of {title}: share of right answers by probability",
        "Probability",
        title,
        across=[(left + (right - left) * i / 2, f"{50 * i} %") for i in range(3)],
        upwards=[(bottom - (bottom - top) * i / 2, f"{50 * i} %") for i in range(3)],
        edges=[],
        key=[],
        dots=[],
        bars=bars,
        lines=[Line([(left, bottom), (right, top)], "edge")],
        width=280,
        height=262,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
    )


def heat(matrix: NDArray[np.int64], names: Sequence[str]) -> Plot:
    """A confusion matrix (C, C), true classes downwards; the shade is the share of the true class."""
    classes = len(names)
    side = min(40.0, 420 / classes)
    named = [short(name, 16) for name in names]
    left = top = int(max(map(len, named)) * CHARACTER) + 16
    bars, total = [], matrix.sum(1)
    for t, p in np.argwhere(matrix).tolist():
        n, share = int(matrix[t, p]), matrix[t, p] / total[t]
        note = f"{names[t]} taken for {names[p]}: {n} of {total[t]}" if t != p else f"{names[t]} recognised: {n} of {total[t]}"
        opacity = round(0.12 + 0.88 * float(share), 2)
        place = (round(left + p * side, 1), round(top + t * side, 1), round(side - 0.6, 1), round(side - 0.6, 1))
        bars.append(Bar(*place, 0 if t == p else 2, note, opacity))
    end = side * classes
    middles = [
        (round((c + 0.5) * side, 1), name) for c, name in enumerate(named) if side >= 12 or c % 2 == 0
    ]  # every name where there is room
    return Plot(
        "Confusion matrix: true classes downwards, predicted ones to the right, both from frequent to rare",
        "",
        "",
        across=[],
        upwards=[(top + at, name) for at, name in middles],
        edges=[],
        key=[],
        dots=[],
        bars=bars,
        over=[(left + at, name) for at, name in middles],
        grid=False,
        width=int(left + end + 12),
        height=int(top + end + 12),
        left=left,
        right=int(left + end),
        top=top,
        bottom=int(top + end),
    )


def places(where: NDArray[np.float64], groups: Sequence[int], notes: Sequence[str], how: str) -> Plot:
    """A map: points (n, 2) in [0, 1], in the colours of their shot groups."""
    x, y = LEFT + 6 + (RIGHT - LEFT - 12) * where[:, 0], BOTTOM - 6 - (BOTTOM - TOP - 12) * where[:, 1]
    dots = [
        Dot("", round(float(a), 1), round(float(b), 1), g, note, None, 0.7)
        for a, b, g, note in zip(x, y, groups, notes, strict=True)
    ]
    alt = f"Features of {len(dots)} test images by {how}, coloured by the shot group of their class"
    frame = [(LEFT, TOP), (RIGHT, TOP), (RIGHT, BOTTOM), (LEFT, BOTTOM), (LEFT, TOP)]
    lines = [Line(frame, "thin")]
    return Plot(alt, "", "", [], [], [], legend([f"{g}-shot" for g in SHOTS], LEFT), dots, lines, height=BOTTOM + 10)


def curve(values: Sequence[tuple[float, float]], title: str, series: int, share: bool) -> Plot:
    """One figure over the epochs, (epoch, value), counted from 1; a ``share`` is drawn in percent, from 0."""
    left, right, top, bottom = 46, 258, 30, 220
    high = max([value for _, value in values] + [1e-9]) * 1.05
    low = 0.0 if share else min(0.0, *(value for _, value in values))
    last = max(epoch for epoch, _ in values)
    step = _round((high - low) / 4)

    def place(epoch: float, value: float) -> tuple[float, float]:
        across = (epoch - 1) / max(last - 1, 1)
        return round(left + (right - left) * across, 1), round(bottom - (bottom - top) * (value - low) / (high - low), 1)

    def written(value: float) -> str:
        return f"{percent(value)} %" if share else f"{value:.4g}"

    shown = values if len(values) <= 60 else [*values[:: len(values) // 60 + 1], values[-1]]
    return Plot(
        f"{title} by epoch",
        "Epoch",
        title,
        across=[(place(epoch, low)[0], f"{epoch:g}") for epoch in sorted({1, (1 + last) // 2, last})],
        upwards=[
            (place(1, step * i)[1], f"{100 * step * i:.3g} %" if share else f"{step * i:.3g}")
            for i in range(6)
            if step * i <= high
        ],
        edges=[],
        key=[],
        dots=[Dot("", *place(epoch, value), series, f"epoch {epoch:g}: {written(value)}", None, 0.7) for epoch, value in shown],
        lines=[Line([place(*point) for point in values], f"line{series}")],
        width=280,
        height=262,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
    )


def _round(step: float) -> float:
    """1, 2 or 5 times a power of ten, at least ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * 0.999)


def matrix(labels: Tensor, predictions: Tensor, order: Sequence[int]) -> NDArray[np.int64]:
    """The confusion matrix (C, C) of labelled samples, classes in this order."""
    place = np.empty(len(order), dtype=np.int64)
    place[list(order)] = np.arange(len(order))
    found = np.zeros((len(order), len(order)), dtype=np.int64)
    np.add.at(found, (place[labels.numpy()], place[predictions.numpy()]), 1)
    return found
