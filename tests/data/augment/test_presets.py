"""What each preset is made of: the numbers of the published recipes. How presets behave is in tests/data/test_views.py."""

import pytest

from tailwise.data.augment import (
    Blur,
    Chain,
    CropFlip,
    Cutout,
    Gray,
    Jitter,
    RandAugment,
    ResizedCropFlip,
    Shift,
    Whole,
    preset,
)
from tailwise.data.augment.policy import CIFAR10, IMAGENET, AutoAugment

MEAN = (124, 116, 104)
JITTERED = (Jitter(0.4, 0.1, 0.8), Gray(0.2))


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("plain", Chain(Whole(32))),
        ("crop_flip", Chain(Whole(32), (CropFlip(4),))),
        ("shift", Chain(Whole(32), (Shift(1),))),
        ("cifar_autoaugment", Chain(Whole(32), (CropFlip(4), AutoAugment(CIFAR10, (128, 128, 128)), Cutout(16)))),
        ("resized_crop_flip", Chain(ResizedCropFlip(32, 0.08))),
        ("simaugment", Chain(ResizedCropFlip(32, 0.2), JITTERED)),
        ({"simaugment": {"min_area": 0.08, "blur": 0.5}}, Chain(ResizedCropFlip(32, 0.08), (*JITTERED, Blur(0.5)))),
        ("imagenet_simaugment", Chain(ResizedCropFlip(32, 0.08), JITTERED)),
        ("imagenet_autoaugment", Chain(ResizedCropFlip(32, 0.08), (AutoAugment(IMAGENET, MEAN),))),
        ("imagenet_randaugment", Chain(ResizedCropFlip(32, 0.08), (Jitter(0.4, 0), RandAugment(2, 30, MEAN)))),
        (
            {"imagenet_randaugment": {"magnitude": 27, "gray": 0.2, "blur": 0.5}},
            Chain(ResizedCropFlip(32, 0.08), (Jitter(0.4, 0), Gray(0.2), Blur(0.5), RandAugment(2, 27, MEAN))),
        ),
    ],
)
def test_parts(name: str, chain: Chain) -> None:
    assert preset(name, 32) == chain
