"""One look at every image of a source: its size, how it is stored, and a thumbnail that stands for it."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tailwise.data.checks import content_of, look_at_all, problem_of
from tailwise.data.source import Encoded, Split, Stacked, to_rgb

SIDE = 16
"""Side of a thumbnail in pixels: coarse enough to forget compression, fine enough to tell two photographs apart."""

FINE = 64
"""A JPEG is decoded at the smallest scale whose sides are at least this long: a thumbnail needs no more."""

_CHUNK = 2048  # images between two reports of progress

Progress = Callable[[int], None]
"""Is told how many more images have been looked at."""


@dataclass(frozen=True)
class Looked:
    """What the images of one split look like."""

    thumbnails: NDArray[np.uint8]  # (N, SIDE, SIDE, 3); zeros for an image that cannot be read
    sizes: NDArray[np.int64]  # (N, 2) width and height; zeros for an image that cannot be read
    stored: list[str]  # (N,) Pillow's mode of a file, such as "RGB"; "" for pixels that come without one
    problems: list[str]  # (N,) why an image cannot be read; "" for one that can

    def subset(self, rows: NDArray[np.int64]) -> "Looked":
        """Those at ``rows`` (n,)."""
        stored, problems = ([of[i] for i in rows] for of in (self.stored, self.problems))
        return Looked(self.thumbnails[rows], self.sizes[rows], stored, problems)


class _Seen(NamedTuple):
    thumbnail: NDArray[np.uint8]
    size: tuple[int, int]
    stored: str
    problem: str


def look(split: Split, progress: Progress = lambda done: None) -> Looked:
    """Every image of a split, read once by a few threads. Images that cannot be read are noted, never raised."""
    images, seen = split.images, list[_Seen]()
    for start in range(0, len(images), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(images)))
        if isinstance(images, Stacked):
            seen += _in_memory(images.pixels[rows.start : rows.stop])
        elif isinstance(images, Encoded):
            seen += look_at_all(_file, images.items[rows.start : rows.stop])
        else:
            seen += [_Seen(_thumbnail(images[i]), images[i].size, "", "") for i in rows]
        progress(len(rows))
    thumbnails = np.array([one.thumbnail for one in seen], dtype=np.uint8).reshape(-1, SIDE, SIDE, 3)
    sizes = np.array([one.size for one in seen], dtype=np.int64).reshape(-1, 2)
    return Looked(thumbnails, sizes, [one.stored for one in seen], [one.problem for one in seen])


def _in_memory(pixels: Tensor) -> list[_Seen]:
    """Of (n, 3, H, W) uint8."""
    small = F.adaptive_avg_pool2d(pixels.float(), SIDE).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [_Seen(thumbnail, (pixels.shape[3], pixels.shape[2]), "", "") for thumbnail in small]


def _file(item: Path | bytes) -> _Seen:
    content, problem = content_of(item)
    if problem:
        return _useless(problem)
    try:
        with Image.open(io.BytesIO(content)) as image:
            size, stored = image.size, image.mode
            image.draft("RGB", (FINE, FINE))
            return _Seen(_thumbnail(to_rgb(image)), size, stored, "")
    except Exception as error:  # decoders raise anything on damaged files
        return _useless(problem_of(error))


def _useless(problem: str) -> _Seen:
    return _Seen(np.zeros((SIDE, SIDE, 3), dtype=np.uint8), (0, 0), "", problem)


def _thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8)
