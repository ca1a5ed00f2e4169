"""The named augmentations of recipes: each function gives the `Augment` of one view at a picture size.

A preset's name is its function's name; its keyword arguments are the options that a recipe may set.
"""

import difflib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tailwise.data.augment import policy
from tailwise.data.augment.chain import Augment, Chain
from tailwise.data.augment.geometry import CropFlip, Cutout, Fill, Shift
from tailwise.data.augment.jitter import Blur, Gray, Jitter
from tailwise.data.augment.read import ResizedCropFlip, Whole
from tailwise.types import TailwiseError

T = TypeVar("T")

GRAY: Fill = (128, 128, 128)
"""What fills uncovered corners in GML's and PaCo's code for CIFAR."""

MEAN: Fill = (124, 116, 104)
"""ImageNet's mean colour."""


def plain(size: int) -> Augment:
    """No augmentation."""
    return Chain(Whole(size))


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
    return Chain(Whole(size), (CropFlip(pad), policy.AutoAugment(policy.CIFAR10, GRAY), Cutout(cutout)))


def resized_crop_flip(size: int, min_area: float = 0.08) -> Augment:
    """Random resized crop of at least ``min_area`` of the picture, and a flip: the weak standard of ImageNet."""
    return Chain(ResizedCropFlip(size, min_area))


def simaugment(size: int, min_area: float = 0.2, blur: float = 0) -> Augment:
    """SimAugment for 32×32: random resized crop, flip, colour jitter in 8 of 10, gray in 2 of 10, ``blur`` of them blurred.

    BCL's paper names it for CIFAR without saying how strong the crop is: a smallest area of 0.2 is what most ports
    use, 0.08 is torchvision's default and one port's choice. There is no blur by default, as in BCL's own ImageNet
    code; ports blur half of the pictures.
    """
    return Chain(ResizedCropFlip(size, min_area), (Jitter(0.4, 0.1, 0.8), Gray(0.2), *_blurred(blur)))


def imagenet_simaugment(size: int = 224, min_area: float = 0.08, blur: float = 0) -> Augment:
    """SimAugment as in BCL's code for ImageNet-LT: `simaugment` with crops down to 0.08 of the area."""
    return simaugment(size, min_area, blur)


def imagenet_autoaugment(size: int = 224, min_area: float = 0.08) -> Augment:
    """Random resized crop, flip, AutoAugment's ImageNet policy, uncovered corners in ImageNet's mean colour."""
    return Chain(ResizedCropFlip(size, min_area), (policy.AutoAugment(policy.IMAGENET, MEAN),))


def imagenet_randaugment(
    size: int = 224, min_area: float = 0.08, magnitude: int = 30, gray: float = 0, blur: float = 0
) -> Augment:
    """Random resized crop, flip, colour jitter, RandAugment with two operations, uncovered corners in ImageNet's mean colour.

    ``gray`` and ``blur`` are shares of the pictures, changed before RandAugment: GML's contrastive views have 0.2 and 0.5.
    The published recipes say "n2, m10" on a scale whose strongest is 10; torchvision counts 0 to 30, so 30 is m10.
    Not quite the published set: torchvision has Identity instead of Invert, no jitter of the magnitude, and its colour
    operations weaken as often as they strengthen. Expect it to be harsher.
    """
    grayed = (Gray(gray),) if gray else ()
    steps = (Jitter(0.4, 0), *grayed, *_blurred(blur), policy.RandAugment(2, magnitude, MEAN))
    return Chain(ResizedCropFlip(size, min_area), steps)


def _blurred(share: float) -> tuple[Blur, ...]:
    return (Blur(share),) if share else ()


PRESETS: tuple[Callable[..., Augment], ...] = (
    plain,
    crop_flip,
    shift,
    cifar_autoaugment,
    resized_crop_flip,
    simaugment,
    imagenet_autoaugment,
    imagenet_randaugment,
    imagenet_simaugment,
)


RANGES: dict[str, tuple[type, float, float]] = {
    "size": (int, 1, math.inf),
    "pad": (int, 0, math.inf),
    "cutout": (int, 0, math.inf),
    "min_area": (float, 0, 1),
    "magnitude": (int, 0, 30),
    "gray": (float, 0, 1),
    "blur": (float, 0, 1),
}
"""What an option of that name may be, in every preset: its type, the least and the greatest value."""


def preset(spec: str | Mapping[str, Mapping[str, Any]], size: int) -> Augment:
    """The augmentation that a recipe names: ``crop_flip``, or ``{simaugment: {min_area: 0.08}}`` with options.

    Raises `TailwiseError` for an unknown name or option, naming the nearest, and for a value outside of `RANGES`.
    """
    return named("view", PRESETS, spec, size=size)


def named(what: str, functions: Sequence[Callable[..., T]], spec: str | Mapping[str, Mapping[str, Any]], **given: Any) -> T:
    """What the function that ``spec`` names makes of its options, and of what is ``given``; raises as `preset`.

    ``what`` is what messages call it.
    """
    if not isinstance(spec, str) and not (isinstance(spec, Mapping) and len(spec) == 1):
        raise TailwiseError(f"{what} {spec}: give one preset, as NAME or as NAME: OPTIONS")
    name, options = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
    by_name = {function.__name__: function for function in functions}
    if name not in by_name:
        near = difflib.get_close_matches(str(name), by_name, n=1, cutoff=0.0)[0]
        raise TailwiseError(f"{what} {name}: unknown; did you mean {near}? The presets are {', '.join(by_name)}")
    if not isinstance(options, Mapping):
        raise TailwiseError(
            f"{what} {name}: its options must be names with values, got {options}; leave the colon out for none"
        )
    known = [option for option in inspect.signature(by_name[name]).parameters if option not in given]
    for option in options:
        if option not in known:
            raise TailwiseError(f"{what} {name}: no option {option}; its options are {', '.join(known) or 'none'}")
    for option, value in (*given.items(), *options.items()):
        _check(f"{what} {name}: {option}", value, *RANGES[option])
    return by_name[name](**given, **options)


def _check(what: str, value: Any, kind: type, least: float, greatest: float) -> None:
    """Raises unless ``value`` is a number of its ``kind`` in [``least``, ``greatest``]; a whole number is a number too."""
    fits = isinstance(value, int | kind) and not isinstance(value, bool)
    if not (fits and least <= value <= greatest):
        span = f"from {least} to {greatest}" if greatest < math.inf else f"of at least {least}"
        raise TailwiseError(f"{what} must be {'a whole number' if kind is int else 'a number'} {span}, got {value!r}")
