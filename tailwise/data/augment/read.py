"""How an augmentation reads its pictures: whole, or a random part of each."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tailwise.data.augment.chain import whole_number
from tailwise.data.augment.resample import resize_boxes
from tailwise.data.source import Images, Stacked

TRIES = 10
"""Boxes that `draw_boxes` tries before it takes the middle of a picture, torchvision's number."""

LONG = 16
"""Times its short side that a picture is read along its long one, about its middle: a square in the middle is seen of it."""

RATIO = (3 / 4, 4 / 3)
"""Least and greatest width / height of a random box."""


def _pixels(picture: Image.Image) -> Tensor:
    """(1, 3, H, W) uint8."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]


def _resized(picture: Image.Image, size: tuple[int, int]) -> Tensor:
    """The picture at ``size`` (height, width), by the kernel that `resize_boxes` equals: (1, 3, *size) uint8."""
    return F.interpolate(_pixels(picture), size, mode="bilinear", antialias=True)


def _middle(picture: Image.Image) -> Image.Image:
    """The middle of a picture longer than `LONG`, else all of it: a line of pixels, resized whole, would fill the memory."""
    most = LONG * min(picture.size)
    width, height = (min(side, most) for side in picture.size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture if (width, height) == picture.size else picture.crop((left, top, left + width, top + height))


def _joined(pictures: Iterable[Tensor], n: int, size: int) -> Tensor:
    """``n`` pictures (1, 3, size, size) as one batch."""
    out = torch.empty(n, 3, size, size, dtype=torch.uint8)
    for place, picture in zip(out, pictures, strict=True):
        place.copy_(picture[0])
    return out


def _around(height: int, width: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size whose short side is 8/7 of ``size``, and where its middle begins; (height, width) and (top, left)."""
    if (height, width) == (size, size):
        return (size, size), (0, 0)
    short = round(size * 8 / 7)
    full = tuple(short if side == min(height, width) else int(short * side / min(height, width)) for side in (height, width))
    return (full[0], full[1]), (round((full[0] - size) / 2), round((full[1] - size) / 2))


@dataclass(frozen=True)
class Whole:
    """The whole picture at ``size``: as it is where it has that size, else resized to 8/7 of it and cropped at the centre.

    8/7 is the field's 256 to 224.
    """

    size: int
    draws: ClassVar[int] = 0

    def __call__(self, images: Images, index: Tensor, u: Tensor) -> Tensor:
        """As `Read`."""
        if not isinstance(images, Stacked):
            return _joined((self._fit(images[i]) for i in index.tolist()), len(index), self.size)
        pixels = images.pixels.index_select(0, index.to(images.pixels.device, non_blocking=True))
        height, width = pixels.shape[2:]
        if (height, width) == (self.size, self.size):
            return pixels
        full, skip = _around(height, width, self.size)
        box = torch.tensor([[0], [0], [height], [width]]).expand(4, len(index))
        return resize_boxes(pixels, box, torch.zeros(len(index), dtype=torch.bool), self.size, full, skip)

    def _fit(self, picture: Image.Image) -> Tensor:
        picture = _middle(picture)
        full, (top, left) = _around(picture.height, picture.width, self.size)
        return _resized(picture, full)[:, :, top : top + self.size, left : left + self.size]


def draw_boxes(u: Tensor, height: int, width: int, min_area: float) -> Tensor:
    """Random boxes inside a picture, drawn as torchvision's ``RandomResizedCrop`` does.

    The share of the area is uniform from ``min_area`` to 1, width / height is log-uniform in `RATIO`; the first of
    `TRIES` that fits is put anywhere. Where none fits: the largest in the middle. ``u`` (2 · TRIES + 2, n) -> (4, n)
    int64 top, left, height, width.
    """
    area = (min_area + (1 - min_area) * u[:TRIES]) * (height * width)
    least, greatest = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = (least + (greatest - least) * u[TRIES : 2 * TRIES]).exp()
    limit = torch.tensor([[height], [width]], device=u.device)
    sides = torch.stack([area / ratio, area * ratio], 1).sqrt_().round_()  # (TRIES, 2, n)
    fits, first = ((sides > 0) & (sides <= limit)).all(1).byte().max(0)
    tall, broad = height * RATIO[0] > width, height * RATIO[1] < width
    largest = [[round(width / RATIO[0]) if tall else height], [round(height * RATIO[1]) if broad else width]]
    side = sides.gather(0, first.expand(1, 2, -1))[0].long().where(fits > 0, torch.tensor(largest, device=u.device))
    start = whole_number(u[2 * TRIES :], limit - side + 1).where(fits > 0, (limit - side) // 2)
    return torch.cat([start, side])


@dataclass(frozen=True)
class ResizedCropFlip:
    """A random box of at least ``min_area`` of the picture, resized to ``size``, mirrored half the time."""

    size: int
    min_area: float
    draws: ClassVar[int] = 2 * TRIES + 3

    def __call__(self, images: Images, index: Tensor, u: Tensor) -> Tensor:
        """As `Read`."""
        mirrored, u = u[0] < 0.5, u[1:]
        if not isinstance(images, Stacked):
            boxes = cache(lambda height, width: draw_boxes(u, height, width, self.min_area).T.tolist())  # sizes repeat
            pictures = ((images[i], bool(mirror)) for i, mirror in zip(index.tolist(), mirrored, strict=True))
            parts = (self._part(picture, boxes(picture.height, picture.width)[j], m) for j, (picture, m) in enumerate(pictures))
            return _joined(parts, len(index), self.size)
        pixels = images.pixels.index_select(0, index.to(images.pixels.device, non_blocking=True))
        height, width = pixels.shape[2:]
        box = draw_boxes(u, height, width, self.min_area)
        return resize_boxes(pixels, box, mirrored, self.size, (self.size, self.size))

    def _part(self, picture: Image.Image, box: Sequence[int], mirrored: bool) -> Tensor:
        top, left, height, width = box
        part = _resized(picture.crop((left, top, left + width, top + height)), (self.size, self.size))
        return part.flip(3) if mirrored else part
