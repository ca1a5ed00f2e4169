"""Augmentation picture by picture, with torchvision's transforms, each seeded from its own key."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tailwise import rng
from tailwise.data.source import Images, Stacked

Transform = Callable[[Image.Image], Image.Image]
"""A torchvision transform from picture to picture; it may draw from torch's CPU generator and from no other."""


def _to_pixels(picture: Image.Image) -> Tensor:
    """(3, H, W) uint8."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _each(transform: Transform, pictures: Iterable[Image.Image], key: Tensor) -> Tensor:
    """The transformed pictures (B, 3, H, W), each drawn from a generator seeded by its key (B,)."""
    seeds = rng.integers(1 << 32, key).tolist()
    out = []
    with torch.random.fork_rng(devices=[]):
        for picture, seed in zip(pictures, seeds, strict=True):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the accelerators too
            out.append(_to_pixels(transform(picture)))
    return torch.stack(out)


@dataclass(frozen=True)
class Whole:
    """The whole picture at ``size``: as it is where it has that size, else resized to 8/7 of it and cropped at the centre.

    8/7 is the field's 256 to 224. It draws nothing.
    """

    size: int

    def __call__(self, images: Images, index: Tensor, key: Tensor) -> Tensor:
        """(B,), (B,) -> (B, 3, size, size) uint8."""
        if isinstance(images, Stacked) and images.pixels.shape[2:] == (self.size, self.size):
            return images.pixels[index]
        return torch.stack([_to_pixels(self._fit(images[i])) for i in index.tolist()])

    def _fit(self, picture: Image.Image) -> Image.Image:
        if picture.size == (self.size, self.size):
            return picture
        from torchvision.transforms.v2 import functional

        resized = functional.resize(picture, [round(self.size * 8 / 7)])
        return functional.center_crop(resized, [self.size])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Sampled:
    """What a transform makes of the pictures at their own size, such as a random resized crop."""

    transform: Transform

    def __call__(self, images: Images, index: Tensor, key: Tensor) -> Tensor:
        """(B,), (B,) -> (B, 3, H, W) uint8."""
        return _each(self.transform, (images[i] for i in index.tolist()), key)


@dataclass(frozen=True)
class PerPicture:
    """A transform of pixels that are already at their final size, such as AutoAugment."""

    transform: Transform

    def __call__(self, pixels: Tensor, key: Tensor) -> Tensor:
        """(B, 3, H, W), (B,) -> (B, 3, H, W) uint8."""
        arrays = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        return _each(self.transform, (Image.fromarray(array) for array in arrays), key)


def compose(*transforms: Any) -> Transform:
    """Transforms one after the other."""
    from torchvision.transforms import v2

    return v2.Compose(transforms)  # type: ignore[no-any-return]
