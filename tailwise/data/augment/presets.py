"""The named augmentations of recipes: each function gives the `Augment` of one view at a picture size.

A preset's name is its function's name; its keyword arguments are the options that a recipe may set.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from tailwise import rng
from tailwise.data.augment.batched import CropFlip, Cutout, Shift
from tailwise.data.augment.per_picture import PerPicture, Sampled, Whole, compose
from tailwise.data.source import Images
from tailwise.types import TailwiseError

Step = Callable[[Tensor, Tensor], Tensor]
"""(pixels (B, 3, H, W) uint8, key (B,)) -> pixels (B, 3, H, W) uint8."""


class Augment(Protocol):
    """One view of the images at ``index`` (B,), drawn from ``key`` (B,) alone: (B, 3, H, W) uint8."""

    def __call__(self, images: Images, index: Tensor, key: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Chain:
    """Pictures read by ``read``, then changed by each of ``steps``; each draws from a slot of its own."""

    read: Augment
    steps: tuple[Step, ...] = ()

    def __call__(self, images: Images, index: Tensor, key: Tensor) -> Tensor:
        """As `Augment`."""
        pixels = self.read(images, index, rng.mix(key, 0))
        for slot, step in enumerate(self.steps, start=1):
            pixels = step(pixels, rng.mix(key, slot))
        return pixels


def plain(size: int) -> Augment:
    """No augmentation."""
    return Whole(size)


def crop_flip(size: int, pad: int = 4) -> Augment:
    """Random crop out of a black border of ``pad`` pixels, and a horizontal flip: the weak standard of CIFAR."""
    return Chain(Whole(size), (CropFlip(pad),))


def shift(size: int, pad: int = 1) -> Augment:
    """Moved by up to ``pad`` pixels, no flip: for digits."""
    return Chain(Whole(size), (Shift(pad),))


def cifar_autoaugment(size: int, pad: int = 4, cutout: int = 16) -> Augment:
    """Crop and flip, AutoAugment's CIFAR-10 policy, then Cutout.

    The order, the gray that fills what a rotation uncovers, and the black square are those of GML's and PaCo's code.
    """
    from torchvision.transforms import v2

    policy = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, fill=128)
    return Chain(Whole(size), (CropFlip(pad), PerPicture(policy), Cutout(cutout)))


def resized_crop_flip(size: int, min_area: float = 0.08) -> Augment:
    """Random resized crop of at least ``min_area`` of the picture, and a flip: the weak standard of ImageNet."""
    from torchvision.transforms import v2

    return Sampled(compose(v2.RandomResizedCrop(size, scale=(min_area, 1)), v2.RandomHorizontalFlip()))


def simaugment(size: int, min_area: float = 0.2) -> Augment:
    """SimAugment for 32×32: random resized crop, flip, colour jitter in 8 of 10, gray in 2 of 10, no blur.

    BCL's paper names it for CIFAR without saying how strong the crop is: a smallest area of 0.2 is what most ports
    use, 0.08 is torchvision's default and one port's choice. Blur is left out, as in BCL's own ImageNet code.
    """
    from torchvision.transforms import v2

    return Sampled(
        compose(
            v2.RandomResizedCrop(size, scale=(min_area, 1)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
        )
    )


def imagenet_simaugment(size: int = 224, min_area: float = 0.08) -> Augment:
    """SimAugment as in BCL's code for ImageNet-LT: `simaugment` with crops down to 0.08 of the area."""
    return simaugment(size, min_area)


def imagenet_randaugment(size: int = 224, min_area: float = 0.08, magnitude: int = 30) -> Augment:
    """Random resized crop, flip, colour jitter, RandAugment with two operations, uncovered corners in ImageNet's mean colour.

    The published recipes say "n2, m10" on a scale whose strongest is 10; torchvision counts 0 to 30, so 30 is m10.
    Not quite the published set: torchvision has Identity instead of Invert, no jitter of the magnitude, and its colour
    operations weaken as often as they strengthen. Expect it to be harsher.
    """
    from torchvision.transforms import v2

    return Sampled(
        compose(
            v2.RandomResizedCrop(size, scale=(min_area, 1)),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.4, 0.4, 0.4, 0),
            v2.RandAugment(num_ops=2, magnitude=magnitude, fill=[124, 116, 104]),
        )
    )


PRESETS: tuple[Callable[..., Augment], ...] = (
    plain,
    crop_flip,
    shift,
    cifar_autoaugment,
    resized_crop_flip,
    simaugment,
    imagenet_randaugment,
    imagenet_simaugment,
)


def preset(spec: str | Mapping[str, Mapping[str, Any]], size: int) -> Augment:
    """The augmentation that a recipe names: ``crop_flip``, or ``{simaugment: {min_area: 0.08}}`` with options.

    Raises `TailwiseError` for an unknown name or option, naming the nearest.
    """
    if isinstance(spec, Mapping) and len(spec) != 1:
        raise TailwiseError(f"view {dict(spec)}: give one preset, as NAME or as NAME: OPTIONS")
    name, options = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
    by_name = {function.__name__: function for function in PRESETS}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.0)[0]
        raise TailwiseError(f"view {name}: unknown; did you mean {near}? The presets are {', '.join(by_name)}")
    known = [option for option in inspect.signature(by_name[name]).parameters if option != "size"]
    for option in options:
        if option not in known:
            raise TailwiseError(f"view {name}: no option {option}; its options are {', '.join(known) or 'none'}")
    return by_name[name](size=size, **options)
