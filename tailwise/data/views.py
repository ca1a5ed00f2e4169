"""Views: from images and keys to the normalised float tensor that a model sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from tailwise import rng
from tailwise.data.augment import Augment, preset
from tailwise.data.source import Images, Split


class Views(Protocol):
    """V views (V, B, 3, H, W) float32, normalised, of the samples at ``index`` (B,), and the labels that fit them.

    Both are drawn from ``key`` (B,) alone. Labels are (B,) of images, (B, C) where an image has several, and (B, H, W) of
    pixels, which move with a view.
    """

    def __call__(self, split: Split, index: Tensor, key: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel of pixels in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (…, 3, H, W) -> float32 of the same shape: (pixels / 255 − mean) / std."""
        mean, inverse_std = _constants(self, pixels.device)
        return pixels.float().sub_(mean).mul_(inverse_std)


@cache
def _constants(normalise: Normalisation, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean, and inverse of the standard deviation, of pixels in 0..255: (3, 1, 1) each, on the device."""
    mean, std = 255 * torch.tensor([normalise.mean, normalise.std], dtype=torch.float64)[..., None, None]
    return mean.float().to(device), (1 / std).float().to(device)


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What pretrained backbones were mostly trained with."""
CIFAR = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
"""The constants of the CIFAR-LT codes (the standard deviation is the mean of per-image ones)."""
HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Pixels to [−1, 1]."""


def normalisation(source: str) -> Normalisation:
    """The usual constants for a source of that name: CIFAR's for cifar10 and cifar100, `HALF` for digits, else ImageNet's."""
    return {"cifar10": CIFAR, "cifar100": CIFAR, "digits": HALF}.get(source, IMAGENET)


@dataclass(frozen=True)
class MultiView:
    """One augmentation per view; view v draws from (key, v), so that views differ and none depends on the others.

    Views with equal augmentations are made together: one call for a large batch costs less than several for small ones.
    """

    augments: Sequence[Augment]
    normalise: Normalisation

    def __call__(self, split: Split, index: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """As `Views`."""
        return self.of(split.images, index, key), split.targets(index)

    def of(self, images: Images, index: Tensor, key: Tensor) -> Tensor:
        """The views alone: (V, B, 3, H, W) float32."""
        keys = rng.mix(key, torch.arange(len(self.augments), device=key.device)[:, None])
        pixels: dict[int, Tensor] = {}
        for augment in self.augments:
            views = [view for view, other in enumerate(self.augments) if other == augment]
            if views[0] not in pixels:
                made = augment(images, index.repeat(len(views)), keys[views].flatten())
                pixels |= zip(views, made.chunk(len(views)), strict=True)
        return self.normalise(torch.stack([pixels[view] for view in range(len(self.augments))]))


def multi_view(names: Sequence[str | Mapping[str, Mapping[str, Any]]], size: int, normalise: Normalisation) -> MultiView:
    """The views that a recipe names, one preset each, at a picture size; raises as `preset`."""
    return MultiView([preset(name, size) for name in names], normalise)
