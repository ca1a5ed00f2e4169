"""What every data source gives: images decoded on demand, labels, class names, and a hash of the content."""

import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tailwise.counts import count_labels
from tailwise.types import TailwiseError

SMALL = 64
"""Images whose sides are at most this long are kept in memory as pixels: 64 × 64 × 3 bytes are about what a file takes."""

HARMLESS = r"PIL\.TiffImagePlugin"
"""Pillow's reader of what a camera wrote beside the pixels: it warns of pictures that are read all the same."""
warnings.filterwarnings("ignore", category=UserWarning, module=HARMLESS)

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What sources call their splits, and what they are called here."""


class Images(Protocol):
    """A collection of RGB images, decoded when asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> Image.Image: ...
    def subset(self, indices: Tensor) -> "Images":
        """The images at ``indices`` (n,), in that order."""
        ...


class Stacked:
    """Images of one size held in memory: ``pixels`` (N, 3, H, W) uint8."""

    def __init__(self, pixels: Tensor) -> None:
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.dtype != torch.uint8:
            raise TailwiseError(f"pixels: expected uint8 (N, 3, H, W), got {pixels.dtype} {tuple(pixels.shape)}")
        self.pixels = pixels

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def __getitem__(self, i: int) -> Image.Image:
        return Image.fromarray(self.pixels[i].permute(1, 2, 0).contiguous().cpu().numpy())

    def subset(self, indices: Tensor) -> "Stacked":
        """As `Images`."""
        return Stacked(self.pixels[indices])

    def to(self, device: torch.device) -> "Stacked":
        """The images in a GPU's memory, where they take no more than a quarter of what is free; else as they are."""
        if device.type == "cuda" and self.pixels.numel() > torch.cuda.mem_get_info(device)[0] // 4:
            return self
        return Stacked(self.pixels.to(device))


class Encoded:
    """Images as files or as encoded bytes, decoded each time they are asked for."""

    def __init__(self, items: Sequence[Path | bytes]) -> None:
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Image.Image:
        item = self.items[i]
        try:
            return decode(item)
        except Exception as error:  # Pillow raises anything on damaged files
            where = f"image {i}" if isinstance(item, bytes) else str(item)
            advice = "replace it or leave it out; was it changed since the start?"
            raise TailwiseError(f"{where}: cannot be read ({error}); {advice}") from error

    def subset(self, indices: Tensor) -> "Encoded":
        """As `Images`."""
        return Encoded([self.items[i] for i in indices.tolist()])


def decode(item: Path | bytes) -> Image.Image:
    """The image in a file, or in encoded bytes, as RGB; raises what Pillow raises, and OSError for a path of another thing."""
    if isinstance(item, Path) and item.exists() and not item.is_file():  # a pipe would be waited for, for ever
        raise OSError("not a file")
    with Image.open(io.BytesIO(item) if isinstance(item, bytes) else item) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image as RGB: gray is repeated, 16-bit gray keeps its upper byte, transparency is dropped."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip at 255
        gray = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return Image.fromarray(gray).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


@dataclass(frozen=True)
class Split:
    """Labelled images: one part of a source."""

    images: Images
    labels: Tensor  # (N,) int64 in 0..C-1
    groups: tuple[str, ...] | None = None  # (N,) what must stay together when a part is held out
    paths: tuple[str, ...] | None = None  # (N,) what the source calls its images; None where they have no names

    def subset(self, indices: Tensor) -> "Split":
        """The samples at ``indices`` (n,), in that order."""
        groups, paths = (None if of is None else tuple(of[i] for i in indices.tolist()) for of in (self.groups, self.paths))
        return Split(self.images.subset(indices), self.labels[indices], groups, paths)

    def shared_groups(self, other: "Split") -> list[str]:
        """The groups that have images here and in another split, sorted."""
        return sorted(set(self.groups or ()) & set(other.groups or ()))

    def targets(self, index: Tensor) -> Tensor:
        """What an objective gets of the samples at ``index`` (B,): their labels (B,) int64."""
        return self.labels[index]

    def to(self, device: torch.device) -> "Split":
        """The split with images that are in memory moved to a device; labels stay on the CPU."""
        return replace(self, images=self.images.to(device)) if isinstance(self.images, Stacked) else self

    def counts(self, classes: int) -> Tensor:
        """Samples per class (C,) int64."""
        return count_labels(self.labels, classes)


@dataclass(frozen=True)
class Issue:
    """One sample that was skipped, and why: a row of ``data_issues.csv``."""

    path: str
    split: str
    problem: str


@dataclass(frozen=True)
class Source:
    """A data set: class names, splits ("train", and "val" and "test" where there are any), and what was skipped.

    ``sha256`` is over the samples in use: split by split in the order of their names, the labels, then each image's
    SHA-256 (of the file's bytes, or of the pixels where there is no file).
    """

    name: str
    names: tuple[str, ...]
    splits: Mapping[str, Split]
    issues: tuple[Issue, ...]
    sha256: str


def content_hash(splits: Mapping[str, tuple[Tensor, Sequence[bytes]]]) -> str:
    """SHA-256 of (labels, digest of each image) by split: the rule of `Source.sha256`."""
    total = hashlib.sha256()
    for split in sorted(splits):
        labels, digests = splits[split]
        total.update(f"{split} {len(labels)}\n".encode())
        total.update(labels.numpy().astype("<i8").tobytes())
        total.update(b"".join(digests))
    return total.hexdigest()


def stacked_source(name: str, names: Sequence[str], splits: Mapping[str, tuple[Tensor, Tensor]]) -> Source:
    """A source from (pixels (N, 3, H, W) uint8, labels (N,)) by split, for data that comes without image files."""
    digests = {
        split: (labels, [hashlib.sha256(image.tobytes()).digest() for image in pixels.contiguous().numpy()])
        for split, (pixels, labels) in splits.items()
    }
    parts = {split: Split(Stacked(pixels), labels) for split, (pixels, labels) in splits.items()}
    return Source(name, tuple(names), parts, (), content_hash(digests))


def stack_if_small(split: Split, limit: int = SMALL) -> Split:
    """The split with its pixels in memory when all images have one size with sides ≤ ``limit``, else the split as it is."""
    if isinstance(split.images, Stacked) or len(split.images) == 0:
        return split
    width, height = split.images[0].size
    if max(width, height) > limit:
        return split
    pixels = torch.empty(len(split.images), height, width, 3, dtype=torch.uint8)
    for i in range(len(split.images)):
        image = split.images[i]
        if image.size != (width, height):
            return split
        pixels[i] = torch.from_numpy(np.array(image))
    return replace(split, images=Stacked(pixels.permute(0, 3, 1, 2).contiguous()))


def class_name(c: int, names: Sequence[str]) -> str:
    """Class ``c`` as an error calls it: by its name where there are ``names``, else by its number."""
    return repr(names[c]) if names else str(c)


def check_names(name: str, names: Sequence[str]) -> None:
    """Refuse, with `TailwiseError`, classes of one name, and one whose name is blank."""
    if bad := [one for one, times in Counter(names).items() if times > 1 or not one.strip()]:
        what = "two classes have the name" if bad[0].strip() else "a class has the name"
        raise TailwiseError(f"{name}: {what} {bad[0]!r}; give each a name of its own")
