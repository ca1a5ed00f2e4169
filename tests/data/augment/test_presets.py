"""What each preset is made of: the numbers of the published recipes. How presets behave is in tests/data/test_views.py."""

import inspect
from typing import Any

import pytest

from tailwise.data.augment import (
    PRESETS,
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
from tailwise.data.augment.presets import RANGES
from tailwise.types import TailwiseError

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


@pytest.mark.parametrize(
    ("spec", "size", "message"),
    [
        ({"imagenet_randaugment": {"magnitude": 40}}, 32, "view imagenet_randaugment: magnitude .* from 0 to 30, got 40"),
        ({"imagenet_randaugment": {"magnitude": 9.5}}, 32, "magnitude must be a whole number .* got 9.5"),
        (
            {"imagenet_randaugment": {"gray": -0.1}},
            32,
            "view imagenet_randaugment: gray must be a number from 0 to 1, got -0.1",
        ),
        ({"crop_flip": {"pad": -1}}, 32, "view crop_flip: pad must be a whole number of at least 0, got -1"),
        ({"shift": {"pad": "x"}}, 32, "view shift: pad must be a whole number of at least 0, got 'x'"),
        ({"shift": {"pad": True}}, 32, "got True"),
        ({"cifar_autoaugment": {"cutout": -3}}, 32, "view cifar_autoaugment: cutout must be .* got -3"),
        ({"simaugment": {"min_area": 2}}, 32, "view simaugment: min_area must be a number from 0 to 1, got 2"),
        ({"simaugment": {"min_area": float("nan")}}, 32, "got nan"),
        ({"simaugment": {"blur": 3}}, 32, "view simaugment: blur must be a number from 0 to 1, got 3"),
        ({"simaugment": {"blur": None}}, 32, "view simaugment: blur must be .* got None"),
        ({"simaugment": None}, 32, "view simaugment: its options must be names with values, got None"),
        ({"crop_flip": {"size": 32}}, 32, "view crop_flip: no option size"),
        ({"crop_flip": {}, "shift": {}}, 32, "give one preset"),
        ({None: {}}, 32, "view None: unknown"),
        (None, 32, "view None: give one preset"),
        (["shift"], 32, "give one preset"),
        ("plain", 0, "view plain: size must be a whole number of at least 1, got 0"),
        ("plain", 8.0, "view plain: size must be a whole number"),
    ],
)
def test_a_wrong_view_is_refused_in_one_line(spec: Any, size: Any, message: str) -> None:
    with pytest.raises(TailwiseError, match=message) as refused:
        preset(spec, size)
    assert "\n" not in str(refused.value)


def test_every_option_has_a_range_that_holds_its_default() -> None:
    for function in PRESETS:
        for name, parameter in inspect.signature(function).parameters.items():
            _, least, greatest = RANGES[name]
            assert parameter.default is parameter.empty or least <= parameter.default <= greatest


@pytest.mark.parametrize("edge", [1, 2])
def test_the_ends_of_the_ranges_are_taken(edge: int) -> None:
    for function in PRESETS:
        options = {name: RANGES[name][edge] for name in inspect.signature(function).parameters if name != "size"}
        kept = {name: value for name, value in options.items() if value < 1000}
        assert preset({function.__name__: kept}, 32) == function(32, **kept)
