"""Augmentation of a whole batch at once: uint8 pixels (B, 3, H, W) and keys (B,) in, uint8 pixels out.

Draws are uniform numbers of `tailwise.rng` at (key, slot): the same key always gives the same picture. These are the
steps that every small-image recipe takes, so they move whole batches instead of pictures.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise import rng


def _window(pixels: Tensor, top: Tensor, left: Tensor, pad: int, mirrored: Tensor) -> Tensor:
    """The H × W window at (top, left) (B,) of each picture padded with black, mirrored where asked for."""
    batch, channels, height, width = pixels.shape
    padded = F.pad(pixels, (pad, pad, pad, pad)).flatten(2)
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    places = (rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]).flatten(1)
    return padded.gather(2, places[:, None].expand(batch, channels, -1)).view_as(pixels)


@dataclass(frozen=True)
class CropFlip:
    """A window of the picture's size out of the picture padded with black, mirrored half the time (He et al., CVPR 2016)."""

    pad: int = 4

    def __call__(self, pixels: Tensor, key: Tensor) -> Tensor:
        """(B, 3, H, W), (B,) -> (B, 3, H, W)."""
        top = rng.integers(2 * self.pad + 1, key, 0)
        left = rng.integers(2 * self.pad + 1, key, 1)
        return _window(pixels, top, left, self.pad, rng.uniform(key, 2) < 0.5)


@dataclass(frozen=True)
class Shift:
    """The picture moved by up to ``pad`` pixels each way, black behind it, never mirrored: for digits and letters."""

    pad: int = 1

    def __call__(self, pixels: Tensor, key: Tensor) -> Tensor:
        """(B, 3, H, W), (B,) -> (B, 3, H, W)."""
        top = rng.integers(2 * self.pad + 1, key, 0)
        left = rng.integers(2 * self.pad + 1, key, 1)
        return _window(pixels, top, left, self.pad, torch.zeros(len(key), dtype=torch.bool))


@dataclass(frozen=True)
class Cutout:
    """One black square of ``length`` whose centre is any pixel, cut at the border (DeVries & Taylor, arXiv 1708.04552)."""

    length: int = 16

    def __call__(self, pixels: Tensor, key: Tensor) -> Tensor:
        """(B, 3, H, W), (B,) -> (B, 3, H, W)."""
        height, width = pixels.shape[-2:]
        top = rng.integers(height, key, 0)[:, None] - self.length // 2
        left = rng.integers(width, key, 1)[:, None] - self.length // 2
        y, x = torch.arange(height), torch.arange(width)
        in_rows = (y >= top) & (y < top + self.length)
        in_columns = (x >= left) & (x < left + self.length)
        return pixels.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)
