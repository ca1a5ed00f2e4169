"""From features of any shape to the rows that contrastive losses compare."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tailwise.losses.objective import require
from tailwise.losses.places import places
from tailwise.types import IGNORE, Batch


class Draw:
    """How many pixels are drawn, the same number of every image; a subclass says which."""

    per_image: int

    def __post_init__(self) -> None:
        require(self.per_image >= 1, f"{type(self).__name__}: per_image must be at least 1, got {self.per_image}")

    def groups(self, labels: Tensor) -> Tensor:
        """What takes turns, for labels (B, H, W): their groups, of the same shape and from 0; below 0 for nobody's."""
        raise NotImplementedError


@dataclass(frozen=True)
class Balanced(Draw):
    """The classes of an image in turn, so that each gives as many pixels as any other, or all that it has.

    Where the turns do not come out even, the odd ones go to the classes with the fewest pixels in the image. Rarity in the
    training set instead would move no more than this one pixel per class and image.
    """

    per_image: int = 64  # 16 images of 64 are a contrastive batch of 1024

    def groups(self, labels: Tensor) -> Tensor:
        """See `Draw`: the classes."""
        return labels


@dataclass(frozen=True)
class Uniform(Draw):
    """Any labelled pixel of an image is as likely as another, so that classes have the shares that they have of it."""

    per_image: int = 64

    def groups(self, labels: Tensor) -> Tensor:
        """See `Draw`: one group of all."""
        return labels.clamp(min=-1, max=0)


RING_SHARE = 1 / 4
"""How much of a ring of a queue the pixels of one image may hold."""


def ring_share(batch: Batch) -> float:
    """What of a ring one sample may hold, for `tailwise.queue`: `RING_SHARE` of pixels, all of it where it gives one key."""
    return 1.0 if batch.labels.ndim == 1 else RING_SHARE


def samples(features: Tensor, batch: Batch, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    """Features (V, *s, D) to rows (V, N, D) with labels (N,) and sample index (N,); N is the same on every rank.

    Images and feature rows, s = (B,), pass through. Of pixels, s = (B, h, w) under labels (B, H, W), ``draw`` takes
    ``per_image`` of each image (N = B · per_image), a function of labels and ``batch.key``; features are read at the drawn
    full-resolution places, so that thin objects survive. Places that find no labelled pixel are IGNORE.
    """
    if features.ndim == 3:
        return features, batch.labels, batch.index
    place, found = places(draw.groups(batch.labels), batch.key, draw.per_image)
    labels = batch.labels.flatten(1).gather(1, place).masked_fill(~found, IGNORE)
    height, width = batch.labels.shape[-2:]
    h, w = features.shape[2:4]
    y, x = place // width * h // height, place % width * w // width  # the feature cell that covers the pixel
    rows = torch.arange(features.shape[1], device=features.device)[:, None]
    return features[:, rows, y, x].flatten(1, 2), labels.flatten(), batch.index.repeat_interleave(draw.per_image)
