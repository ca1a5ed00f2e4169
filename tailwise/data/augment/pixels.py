"""Pictures whose every pixel has a label: views that share where they look and differ in colour, and whole pictures.

H × W is a picture as it is stored, h × w the part of it that a model trains on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from tailwise import rng
from tailwise.data.augment.chain import Chain, Step
from tailwise.data.augment.presets import MEAN
from tailwise.data.augment.read import _resized
from tailwise.data.pixels import PixelSplit
from tailwise.data.source import Images
from tailwise.types import IGNORE, TailwiseError

LARGEST = 2**27
"""Pixels that a whole picture is resized to at most: 400 MB of them, and four times that on the way."""

TRIES = 10
"""Crops that a `Geometry` draws before it takes one in which a class has more than its share."""


def _read(split: PixelSplit, i: int) -> tuple[Image.Image, Tensor]:
    """Picture ``i`` and its labels (H, W)."""
    picture, labels = split.images[i], split.masks[i]
    if (picture.height, picture.width) != tuple(labels.shape):
        sizes = f"{picture.width} × {picture.height} pixels, its mask {labels.shape[1]} × {labels.shape[0]}"
        raise TailwiseError(f"image {i}: it has {sizes}; a mask must have its picture's size: mend it or leave both out")
    return picture, labels


def _scaled(picture: Image.Image, short_side: int | None, scale: float = 1.0) -> tuple[int, int]:
    """Height and width of the picture once its short side is ``scale`` · ``short_side``, or ``scale`` times its own."""
    if short_side is not None:
        scale *= short_side / min(picture.size)
    return max(1, int(picture.height * scale + 0.5)), max(1, int(picture.width * scale + 0.5))


def resized_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels (H, W) at ``size``: each is the one in whose square its own centre lies, as the resize of pictures has it."""
    rows, columns = ((2 * torch.arange(to) + 1) * side // (2 * to) for side, to in zip(labels.shape, size, strict=True))
    return labels.index_select(0, rows).index_select(1, columns)


def _largest_share(labels: Tensor) -> float:
    """Of the labelled pixels, the share of the class that has most of them; infinite where no pixel is labelled."""
    counts = torch.bincount((labels - IGNORE).flatten())[1:]  # the first counts what is ignored
    most, labelled = (int(counts.max()), int(counts.sum())) if len(counts) else (0, 0)
    return most / labelled if labelled else math.inf


@dataclass(frozen=True)
class Geometry:
    """A random crop of a picture at a random scale, mirrored half the time: what all views and the labels of a sample share.

    A picture is resized so that its short side is ``short_side`` (None: it stays), times a factor that is uniform in
    ``scales``. Of that a window of ``size``, a side or (h, w), is cut anywhere. Up to `TRIES` windows are drawn, and the
    first is taken in which some pixels are labelled and no class has more than ``max_share`` of those; where none is
    like that, the last one drawn; 1 takes the first. A picture smaller than the window is put into its upper left
    corner; the rest has ImageNet's mean colour and the label `IGNORE`.

    Pictures are resized bilinearly with antialiasing, labels to the nearest one. Only the part that is kept is resized:
    a whole number of stored pixels each way, so the scale is met to within one of them over the window. Factors, shares
    and padding are those of mmsegmentation's recipes for ADE20K, which redraw where a class has exactly the share, too.

    Raises `TailwiseError` for sides below 1, scales other than 0 < low ≤ high, and a share outside of (0, 1].
    """

    size: int | tuple[int, int]
    short_side: int | None = None
    scales: tuple[float, float] = (0.5, 2.0)
    max_share: float = 0.75
    draws: ClassVar[int] = 2 + 2 * TRIES

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, Sequence) else (self.size, self.size)
        if len(sides) != 2 or not all(_is_side(side) for side in sides):
            raise TailwiseError(f"crop size: must be a whole number of at least 1, or two of them, got {self.size!r}")
        _check_short_side(self.short_side)
        if len(self.scales) != 2 or not 0 < self.scales[0] <= self.scales[1] < math.inf:
            raise TailwiseError(f"scales: must be two numbers, 0 < low <= high, got {self.scales!r}")
        if not 0 < self.max_share <= 1:
            raise TailwiseError(f"max_share: must be above 0 and at most 1, got {self.max_share!r}")

    @property
    def window(self) -> tuple[int, int]:
        """(h, w)."""
        return (self.size, self.size) if isinstance(self.size, int) else (self.size[0], self.size[1])

    def __call__(self, split: PixelSplit, index: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """``index`` (B,), ``u`` (draws, B) in [0, 1) -> pixels (B, 3, h, w) uint8, labels (B, h, w) int64."""
        pixels = torch.tensor(MEAN, dtype=torch.uint8)[:, None, None].repeat(len(index), 1, *self.window)
        labels = torch.full((len(index), *self.window), IGNORE)
        for i, draws, place, truth in zip(index.tolist(), u.T.tolist(), pixels, labels, strict=True):
            part, classes = self._part(*_read(split, i), draws)
            height, width = classes.shape
            place[:, :height, :width] = part
            truth[:height, :width] = classes
        return pixels, labels

    def _part(self, picture: Image.Image, labels: Tensor, u: list[float]) -> tuple[Tensor, Tensor]:
        """What is seen of a picture, (3, h', w') uint8 and its labels (h', w'): at most the window."""
        mirrored, scale, *place = u
        low, high = self.scales
        full = _scaled(picture, self.short_side, low + (high - low) * scale)
        size = min(full[0], self.window[0]), min(full[1], self.window[1])
        # The box in the stored picture; all of it where size is full
        height, width = (max(1, round(s * to / of)) for s, to, of in zip(labels.shape, size, full, strict=True))
        tops = (int(y * (labels.shape[0] - height + 1)) for y in place[:TRIES])
        lefts = (int(x * (labels.shape[1] - width + 1)) for x in place[TRIES:])
        for top, left in dict.fromkeys(zip(tops, lefts, strict=True)):  # each place once: there may be only one
            classes = resized_labels(labels[top : top + height, left : left + width], size)
            if self.max_share == 1 or _largest_share(classes) <= self.max_share:
                break
        part = _resized(picture.crop((left, top, left + width, top + height)), size)[0]
        return (part.flip(2), classes.flip(1)) if mirrored < 0.5 else (part, classes)


@dataclass(frozen=True)
class _Given:
    """Pixels that have been read, as a `Read`."""

    pixels: Tensor
    draws: ClassVar[int] = 0

    def __call__(self, images: Images, index: Tensor, u: Tensor) -> Tensor:
        return self.pixels


@dataclass(frozen=True)
class PixelViews:
    """V views of each sample with one geometry: view v is what ``geometry`` draws from (key, −1), in colours from (key, v).

    ``colours`` has the steps of each view, as `pixel_colours` makes them; they leave pixels where they are. ``normalise``
    turns uint8 into what a model sees, as `tailwise.data.views.Normalisation` does.
    """

    geometry: Geometry
    colours: Sequence[tuple[Step, ...]]
    normalise: Callable[[Tensor], Tensor]

    def __call__(self, split: PixelSplit, index: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """``index`` and ``key`` (B,) -> views (V, B, 3, h, w) float32, the labels of all of them (B, h, w) int64."""
        own, *keys = rng.mix(key, torch.arange(-1, len(self.colours), device=key.device)[:, None])
        u = rng.uniform(own, torch.arange(self.geometry.draws, device=key.device)[:, None])
        pixels, labels = self.geometry(split, index, u)
        views = [Chain(_Given(pixels), steps)(split.images, index, k) for steps, k in zip(self.colours, keys, strict=True)]
        return self.normalise(torch.stack(views)), labels


def read_whole(images: Images, i: int, short_side: int | None = None) -> Tensor:
    """Image ``i`` with its short side ``short_side``, by the resize of `Geometry`, or as it is: (3, h, w) uint8.

    Raises `TailwiseError` for a side below 1, and what ``images`` raises.
    """
    _check_short_side(short_side)
    picture = images[i]
    return _resized(picture, _whole(picture, short_side))[0]


def read_pair(split: PixelSplit, i: int, short_side: int | None = None) -> tuple[Tensor, Tensor]:
    """What a whole image is judged by: `read_whole` of it, and its labels (H, W) int64 at their own size.

    Raises `TailwiseError` as `read_whole`, and for a mask that has not its picture's size.
    """
    _check_short_side(short_side)
    picture, labels = _read(split, i)
    return _resized(picture, _whole(picture, short_side))[0], labels


def _whole(picture: Image.Image, short_side: int | None) -> tuple[int, int]:
    """`_scaled`, refused where a picture that is long and thin would fill the memory."""
    height, width = _scaled(picture, short_side)
    if short_side is not None and height * width > LARGEST:
        had = f"{picture.width} × {picture.height} pixels"
        raise TailwiseError(f"an image of {had} would have {width} × {height} at short side {short_side}; cut it into parts")
    return height, width


def _is_side(side: object) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and side >= 1


def _check_short_side(short_side: int | None) -> None:
    if short_side is not None and not _is_side(short_side):
        raise TailwiseError(f"short_side: must be a whole number of at least 1, got {short_side!r}; leave it out for none")
