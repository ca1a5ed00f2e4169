"""Pixel tasks: masks decoded on demand, and splits whose samples are images with masks."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from tailwise.data.source import Split
from tailwise.types import IGNORE, TailwiseError

Table = npt.NDArray[np.int64]
"""The class (65536,) of each raw value of a mask, or IGNORE, or OUTSIDE."""

RAW = 1 << 16
"""How many values a mask's pixel can hold: 8- and 16-bit files are read."""

OUTSIDE = IGNORE - 1
"""What a table of classes holds for the raw values that must not occur."""

_EXACT = ("PNG", "TIFF")  # other formats stretch numbers, reorder palettes or lose bits
_STRETCHED = {"L;2": 85, "L;4": 17}  # gray of 2 and 4 bits, which Pillow stretches to 0..255


def class_table(classes: int, ignore: Sequence[int]) -> Table:
    """Classes are the raw values 0, 1, 2, … without those in ``ignore``: of ADE20K's 0 is none, so its class is raw − 1.

    Raises `TailwiseError` for values to ignore outside 0..65535.
    """
    for value in ignore:
        if not 0 <= value < RAW:
            raise TailwiseError(f"ignore: a mask cannot have the value {value}; give one in 0..{RAW - 1}")
    table = np.full(RAW, OUTSIDE, dtype=np.int64)
    table[list(ignore)] = IGNORE
    values = (table == OUTSIDE).nonzero()[0][:classes]
    table[values] = np.arange(len(values))
    return table


def raw_values(item: Path | bytes) -> npt.NDArray[np.uint8 | np.uint16]:
    """The values (H, W) in a mask's file or in its bytes: PNG or TIFF, gray of 1 to 16 bits or a palette's indices.

    Raises `TailwiseError`, saying only what is wrong, for other formats and kinds of pixels; and what Pillow raises on files
    that are damaged or no images.
    """
    with Image.open(io.BytesIO(item) if isinstance(item, bytes) else item) as image:
        if image.format not in _EXACT or image.info.get("compression") == "jpeg":
            lossy = "" if image.format in ("BMP", "GIF", "PPM") else " is lossy"
            raise TailwiseError(f"a {image.format} mask{lossy}: save class numbers as PNG")
        stored = image.tile[0][3] if image.tile else ""
        stretched = _STRETCHED.get(str(stored[0] if isinstance(stored, tuple) else stored), 1)
        mode, bands, values = image.mode, len(image.getbands()), np.asarray(image)
    if bands > 1:
        raise TailwiseError(f"a colour mask ({mode}): save class numbers as an 8-bit image")
    if mode in ("1", "L", "P"):
        return values.astype(np.uint8) // np.uint8(stretched)
    if not (mode == "I" or mode.startswith("I;16")):
        raise TailwiseError(f"a mask of mode {mode}: save class numbers as an 8- or 16-bit image")
    if values.min() < 0 or values.max() >= RAW:
        raise TailwiseError(f"mask values {values.min()}..{values.max()}: save class numbers as an 8- or 16-bit image")
    return values.astype(np.uint16)


class Masks(Protocol):
    """A collection of label images, decoded when asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> Tensor: ...  # (H, W) int64 in 0..C-1, and IGNORE
    def subset(self, indices: Tensor) -> "Masks":
        """The masks at ``indices`` (n,), in that order."""
        ...


class EncodedMasks:
    """Masks as files or as encoded bytes, read through a table of classes each time."""

    def __init__(self, items: Sequence[Path | bytes], table: Table) -> None:
        self.items = list(items)
        self.table = table

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Tensor:
        item = self.items[i]
        try:
            labels = torch.from_numpy(self.table[raw_values(item)])
            if int(labels.min()) < IGNORE:
                raise TailwiseError("it has a value that is no class and not ignored")
        except Exception as error:  # Pillow raises anything on damaged files
            where = f"mask {i}" if isinstance(item, bytes) else str(item)
            advice = "replace it or leave it out; was it changed since the start?"
            raise TailwiseError(f"{where}: cannot be read ({error}); {advice}") from error
        return labels

    def subset(self, indices: Tensor) -> "EncodedMasks":
        """As `Masks`."""
        return EncodedMasks([self.items[i] for i in indices.tolist()], self.table)


@dataclass(frozen=True, kw_only=True)
class PixelSplit(Split):
    """Images with masks. The label of an image is its rarest class (`rarest`), so what deals with labels works unchanged."""

    masks: Masks
    pixels: Tensor  # (N, C) int64: labelled pixels of each class in each image

    def subset(self, indices: Tensor) -> "PixelSplit":
        """As `Split`; labels stay those of the whole split."""
        part: dict[str, Any] = vars(super().subset(indices))
        return PixelSplit(**part, masks=self.masks.subset(indices), pixels=self.pixels[indices])

    def to(self, device: torch.device) -> "PixelSplit":
        """The split as it is: pictures are cut to size on the CPU."""
        return self

    def counts(self, classes: int) -> Tensor:
        """Pixels per class (C,) int64."""
        if self.pixels.shape[1] != classes:
            raise TailwiseError(f"pixel counts: the masks have {self.pixels.shape[1]} classes, {classes} were asked for")
        return self.pixels.sum(0)


def rarest(pixels: Tensor) -> Tensor:
    """(N,) int64: of the classes in each image the one with the fewest pixels in all images; of equals the first.

    ``pixels`` (N, C), at least one labelled pixel in each row.
    """
    order = pixels.sum(0).argsort(stable=True)
    return order[(pixels[:, order] > 0).byte().argmax(1)]
