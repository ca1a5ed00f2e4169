"""Pixels that move: crop, flip, shift, Cutout, and the nearest-neighbour affine maps of AutoAugment."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.data.augment.chain import whole_number

Fill = tuple[int, int, int]
"""The colour of what a map uncovers, red, green and blue in 0..255."""

AFFINE = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
"""The maps of `affine`, by number."""


def _pick(padded: Tensor, rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """The pixels of (n, 3, H', W') at ``rows`` and ``columns``, which broadcast to (n, height, width) int32."""
    n, channels = padded.shape[:2]
    places = torch.add(columns, rows, alpha=padded.shape[3]).long().flatten(1)[:, None]  # 64 bits are slow, so they come last
    return padded.flatten(2).gather(2, places.expand(-1, channels, -1)).view(n, channels, height, width)


def window(pixels: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, pad: int) -> Tensor:
    """The H × W window at (top, left) (B,) of each picture padded with black, mirrored where asked for (bool)."""
    height, width = pixels.shape[-2:]
    line = torch.arange(max(height, width), dtype=torch.int32, device=top.device)
    rows = top.int()[:, None] + line[:height]
    columns = left.int()[:, None] + torch.where(mirrored[:, None], line[:width].flip(0), line[:width])
    rows, columns = (t.to(pixels.device, non_blocking=True) for t in (rows, columns))
    return _pick(F.pad(pixels, (pad, pad, pad, pad)), rows[:, :, None], columns[:, None, :], height, width)


@dataclass(frozen=True)
class CropFlip:
    """A window of the picture's size out of the picture padded with black, mirrored half the time (He et al., CVPR 2016)."""

    pad: int = 4
    draws: ClassVar[int] = 3

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """As `Step`."""
        top, left = whole_number(u[:2], 2 * self.pad + 1)
        return window(pixels, top, left, u[2] < 0.5, self.pad)


@dataclass(frozen=True)
class Shift:
    """The picture moved by up to ``pad`` pixels each way, black behind it, never mirrored: for digits and letters."""

    pad: int = 1
    draws: ClassVar[int] = 2

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """As `Step`."""
        top, left = whole_number(u, 2 * self.pad + 1)
        return window(pixels, top, left, torch.zeros_like(top, dtype=torch.bool), self.pad)


@dataclass(frozen=True)
class Cutout:
    """One black square of ``length`` whose centre is any pixel, cut at the border (DeVries & Taylor, arXiv 1708.04552)."""

    length: int = 16
    draws: ClassVar[int] = 2

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """As `Step`."""
        height, width = pixels.shape[-2:]
        start = whole_number(u, torch.tensor([[height], [width]], device=u.device)) - self.length // 2
        line = torch.arange(max(height, width), device=u.device)
        outside = ((line < start[..., None]) | (line >= start[..., None] + self.length)).byte()
        rows, columns = outside.to(pixels.device, non_blocking=True).short()  # bytes broadcast slowly
        kept: Tensor = rows[:, None, :height, None] | columns[:, None, None, :width]
        return pixels * kept.to(torch.uint8)


def affine(pixels: Tensor, which: Tensor, magnitude: Tensor, fill: Fill) -> Tensor:
    """Each picture sheared, moved or rotated, as torchvision's AutoAugment does it with nearest pixels.

    ``which`` (n,) indexes `AFFINE`; ``magnitude`` (n,) float64 is the slope of a shear about the upper left corner, a
    number of pixels (its whole part counts), or degrees. What comes from outside gets the colour ``fill``.
    """
    n, channels, height, width = pixels.shape
    which = which[:, None] == torch.arange(len(AFFINE), device=which.device)
    shear_x, shear_y, move_x, move_y, angle = (magnitude[:, None] * which).unbind(1)
    radians = angle * (math.pi / 180)
    cos, sin = radians.cos(), radians.sin()
    x_from_y, x_moved = shear_x - sin, shear_x * (height / 2) - move_x.trunc()
    y_from_x, y_moved = shear_y + sin, shear_y * (width / 2) - move_y.trunc()
    matrix = torch.stack([cos, x_from_y, x_moved, cos, y_from_x, y_moved]).float().view(6, -1, 1, 1)
    y, x = (torch.arange(side, device=pixels.device) - (side - 1) / 2 for side in (height, width))
    columns = _source(matrix[:3] / (width / 2), x, y[:, None], width)
    rows = _source(matrix[3:] / (height / 2), y[:, None], x, height)
    border = pixels.new_empty(n, channels, height + 2, width + 2)
    for plane, value in zip(border.unbind(1), fill, strict=True):
        plane.fill_(value)
    border[:, :, 1:-1, 1:-1] = pixels
    return _pick(border, rows, columns, height, width)


def _source(matrix: Tensor, own: Tensor, other: Tensor, side: int) -> Tensor:
    """The place on one axis that each pixel comes from, in a picture with a border of one pixel: (n, H, W) int32.

    Often it lies halfway between two pixels, and rounding decides. These are torchvision's operations, in its order and
    precision: coordinates from −1 to 1, then pixels.
    """
    place = (own * matrix[0] + other * matrix[1]).add_(matrix[2])
    return place.add_(1).mul_(side / 2).sub_(0.5).round_().clamp_(-1, side).int().add_(1)
