"""What an augmentation is made of: one way to read pictures, then steps on whole batches of uint8 pixels.

Chance enters as uniform numbers that the chain draws in one call: number j of a sample is `rng.uniform` of (key, j).
A part says how many it takes and never draws itself, so a sample's picture follows from its key alone, whatever else
is in the batch. Numbers live where the keys live, by preference on the CPU, also when the pixels are on a GPU: then a
step knows how many pictures need what without asking the GPU.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tailwise import rng
from tailwise.data.source import Images

PIECE = 1 << 19
"""Pixel values that a CPU works on at a time: as floats they fit into its last cache."""


class Augment(Protocol):
    """One view of the images at ``index`` (B,), drawn from ``key`` (B,) alone: (B, 3, H, W) uint8."""

    def __call__(self, images: Images, index: Tensor, key: Tensor) -> Tensor: ...


class Read(Protocol):
    """Pictures as pixels of one size."""

    @property
    def draws(self) -> int:
        """D, the uniform numbers that it takes for each picture."""
        ...

    def __call__(self, images: Images, index: Tensor, u: Tensor) -> Tensor:
        """``index`` (B,), ``u`` (D, B) in [0, 1) -> (B, 3, H, W) uint8."""
        ...


class Step(Protocol):
    """A change of pixels that leaves its input alone."""

    @property
    def draws(self) -> int:
        """D, the uniform numbers that it takes for each picture."""
        ...

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """(B, 3, H, W) uint8, ``u`` (D, B) in [0, 1) -> (B, 3, H, W) uint8."""
        ...


@dataclass(frozen=True)
class Chain:
    """Pictures read by ``read``, then changed by each of ``steps``."""

    read: Read
    steps: tuple[Step, ...] = ()

    def __call__(self, images: Images, index: Tensor, key: Tensor) -> Tensor:
        """As `Augment`."""
        takes = [self.read.draws, *(step.draws for step in self.steps)]
        u = rng.uniform(key, torch.arange(sum(takes), device=key.device)[:, None])
        first, *rest = torch.split(u, takes)
        pixels = self.read(images, index, first)
        for step, share in zip(self.steps, rest, strict=True):
            pixels = step(pixels, share)
        return pixels


def whole_number(u: Tensor, high: int | Tensor) -> Tensor:
    """The uniform ``u`` as a whole number in [0, ``high``), int64."""
    return (u * high).long().clamp(max=high - 1)


def pieces(*batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Batches of n cut alike into what is worked on at a time: all of it on a GPU, `PIECE` values of the first on a CPU."""
    first = batches[0]
    size = max(1, PIECE // first.stride(0)) if first.device.type == "cpu" else max(1, len(first))
    return zip(*(torch.split(batch, size) for batch in batches), strict=True)


def in_pieces(op: Callable[..., Tensor], pixels: Tensor, *parameters: Tensor) -> None:
    """``pixels`` (n, 3, H, W) become ``op(pixels, *parameters)``, in place, in `pieces`.

    ``parameters`` have one row for each picture, and ``op`` treats every picture on its own.
    """
    for piece, *rows in pieces(pixels, *parameters):
        piece.copy_(op(piece, *rows))


def replaced(pixels: Tensor, rows: Tensor, some: Tensor) -> Tensor:
    """A copy of ``pixels`` (B, 3, H, W) with ``some`` (n, 3, H, W) at ``rows`` (n,)."""
    source = torch.arange(len(pixels), device=pixels.device)
    source[rows] = torch.arange(len(pixels), len(pixels) + len(rows), device=pixels.device)
    return torch.cat([pixels, some]).index_select(0, source)  # much faster than index_copy


def on_some(op: Callable[..., Tensor], pixels: Tensor, chosen: Tensor, *parameters: Tensor) -> Tensor:
    """A copy of ``pixels`` (B, 3, H, W) where ``op(pixels, *parameters)`` replaces those ``chosen`` (B,) bool."""
    rows = chosen.nonzero()[:, 0].to(pixels.device, non_blocking=True)
    some = pixels.index_select(0, rows)
    in_pieces(op, some, *(parameter.to(pixels.device, non_blocking=True)[rows] for parameter in parameters))
    return replaced(pixels, rows, some)
