"""Boxes of a batch of pictures resized to one size, equal to torchvision's antialiased bilinear resize of uint8.

That kernel, like Pillow's, filters rows and then columns, rounds to whole numbers after each, and takes its weights as
whole numbers over a power of two. So do we: all sums are then exact in float32, in whatever order they are made, and a
picture comes out the same in any batch and on any device.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from tailwise.data.augment.chain import pieces

TABLES = 16
"""Tables that are kept, some megabytes each for large pictures; the views of a run need two for each size read and made."""


def taps(length: Tensor, full: int) -> tuple[Tensor, Tensor]:
    """What each of the ``full`` pixels that lines of ``length`` (n,) pixels are resized to reads of its line.

    Returns pixels of the lines (n, T, full) int64 and their weights (n, T, full) float32, whole multiples of a power of
    two that sum to about 1: a triangle as wide as two pixels of the line or of the result, whichever are larger. T is
    what the longest line needs; pixels beyond the triangle or the line have weight 0.
    """
    reach = 2 * math.ceil(max(1.0, int(length.max()) / full))
    place = torch.arange(full, device=length.device)
    length = length.double()[:, None, None]
    scale = length / full
    support = scale.clamp(min=1)
    centre = (place + 0.5) * scale
    pixel = (centre - support + 0.5).floor().clamp(min=0) + torch.arange(reach, device=length.device)[:, None]
    weight = (1 - (pixel + 0.5 - centre).abs() / support).clamp(min=0) * (pixel < length)
    weight = weight / weight.sum(1, keepdim=True)
    # The fewest bits p with which the largest weight, times 2ᵖ⁺¹, would no longer fit into 16 bits
    one = 2 ** (((2**15 - 0.5) / weight.amax((1, 2), keepdim=True)).log2().ceil() - 1)
    return torch.minimum(pixel, length - 1).long(), ((weight * one + 0.5).floor() / one).float()


@lru_cache(TABLES)
def _tables(side: int, full: int, skip: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """`taps` of lines of 1, 2, …, ``side`` pixels, and then of the same lines mirrored: (2 · side, T, size) both.

    Of the ``full`` places only the ``size`` from ``skip`` on are kept.
    """
    pixel, weight = (tap[..., skip : skip + size].to(device) for tap in taps(torch.arange(1, side + 1), full))
    return torch.cat([pixel, pixel.flip(2)]), torch.cat([weight, weight.flip(2)])


def resize_boxes(
    pixels: Tensor, box: Tensor, mirrored: Tensor, size: int, full: tuple[int, int], skip: tuple[int, int] = (0, 0)
) -> Tensor:
    """The ``box`` of each picture resized to ``full`` (height, width), of which the window at ``skip`` is kept.

    ``pixels`` (n, 3, H, W) uint8; ``box`` (4, n) int64 top, left, height, width; ``mirrored`` (n,) bool, left for right.
    Returns (n, 3, size, size) uint8.
    """
    (height, width), device = pixels.shape[2:], pixels.device
    top, left, high, wide = box
    boxes = torch.stack([top, high - 1, left, wide - 1 + mirrored * width], 1).to(device, non_blocking=True)
    down, across = _tables(height, full[0], skip[0], size, device), _tables(width, full[1], skip[1], size, device)
    out = pixels.new_empty(len(pixels), 3, size, size)
    for piece, source, place in pieces(out, pixels, boxes):
        y, weight_y = (table.index_select(0, place[:, 1]) for table in down)
        x, weight_x = (table.index_select(0, place[:, 3]) for table in across)
        y, x = y.add_(place[:, 0, None, None]), x.add_(place[:, 2, None, None])
        piece.copy_(_filter(source, y, weight_y, x, weight_x))
    return out


def _filter(pixels: Tensor, y: Tensor, weight_y: Tensor, x: Tensor, weight_x: Tensor) -> Tensor:
    """Each result a weighted sum over pixels of its row, and then over rows of its column; all (n, T, size)."""
    n, channels, height, width = pixels.shape
    size = x.shape[2]
    exact = torch.float64 if pixels.is_cuda else torch.float32  # a GPU may be told to make products of float32 in fewer bits
    columns = torch.zeros(n, width, size, device=pixels.device, dtype=exact).scatter_add_(1, x, weight_x.to(exact))
    rows = torch.bmm(pixels.flatten(1, 2).to(exact), columns).add_(0.5).floor_().float().view(-1, size)
    plane = torch.arange(0, n * channels * height, height, device=pixels.device).view(n, channels, 1)
    out = torch.full((), 0.5, device=pixels.device)
    for row, weight in zip(y.unbind(1), weight_y.unbind(1), strict=True):
        read = rows.index_select(0, (plane + row[:, None]).flatten()).view(n, channels, size, size)
        out = read.mul_(weight[:, None, :, None]).add_(out)  # addcmul takes five times as long here
    return out.short()
