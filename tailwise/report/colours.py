"""Colours of classes: as far apart as they can be, and the same for a class however many others there are."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

LEVELS = 16
"""Values per channel that colours are chosen from: 0, 17, …, 255."""

GREY, GLARING = 20.0, 75.0
"""Chroma (CIELAB) below which a colour is kept for what is ignored, and above which it hurts."""


@cache
def colours(classes: int) -> NDArray[np.uint8]:
    """One colour per class, (C, 3) uint8 RGB; distinct for up to 2000 classes, then from the start again.

    Each is the one farthest in CIELAB from those before it; greys, glaring ones, and what is nearly black or white are
    left out. The first is a blue.
    """
    levels = np.linspace(0, 255, LEVELS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    lab = _lab(grid)
    chroma, lightness = np.hypot(lab[:, 1], lab[:, 2]), lab[:, 0]
    kept = (chroma > GREY) & (chroma < GLARING) & (lightness > 28) & (lightness < 86)
    grid, lab = grid[kept], lab[kept]
    chosen = [int(np.abs(grid.astype(int) - (51, 102, 204)).sum(1).argmin())]
    distance = np.full(len(grid), np.inf)
    for _ in range(min(classes, len(grid)) - 1):
        distance = np.minimum(distance, ((lab - lab[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distance.argmax()))
    return np.resize(grid[chosen], (classes, 3))


def _lab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """sRGB (N, 3) in CIELAB, white D65: distances there are roughly as the eye sees them."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ (to_xyz / to_xyz.sum(1, keepdims=True)).T
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


def hexadecimal(colour: NDArray[np.uint8]) -> str:
    """``#rrggbb`` of (3,)."""
    return "#" + bytes(colour.tolist()).hex()
