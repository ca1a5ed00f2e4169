"""Colours of pixel tasks: the distortion against its definition, and what each name is made of."""

import colorsys
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from tailwise import rng
from tailwise.data.augment import Blur, Gray, Jitter, Step
from tailwise.data.augment.pixel_colours import COLOURS, Photometric, pixel_colours
from tailwise.data.augment.presets import RANGES
from tailwise.types import TailwiseError


def _draws(n: int) -> Tensor:
    return rng.uniform(4, torch.arange(Photometric.draws)[:, None], torch.arange(n))


def _saturated(picture: Tensor, factor: float) -> Tensor:
    out = torch.empty_like(picture).flatten(1)
    for i, pixel in enumerate((picture.flatten(1).T.double() / 255).tolist()):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        changed = colorsys.hsv_to_rgb(hue, min(1.0, saturation * factor), value)
        out[:, i] = torch.tensor([round(255 * x) for x in changed], dtype=torch.uint8)
    return out.view_as(picture)


def test_a_distortion_is_its_operations_one_by_one(pictures: Tensor) -> None:
    u = _draws(len(pictures))
    out, last = Photometric()(pictures, u), 0
    for i, picture in enumerate(pictures):
        brighter, contrasted, saturated, turned, late = (u[:5, i] < 0.5).tolist()
        amount, expected = (2 * u[5:, i] - 1).tolist(), picture
        last += contrasted and late
        if brighter:
            expected = (expected + 32 * amount[0]).clamp(0, 255).to(torch.uint8)
        if contrasted and not late:
            expected = (expected * (1 + 0.5 * amount[1])).clamp(0, 255).to(torch.uint8)
        if saturated:
            expected = _saturated(expected, 1 + 0.5 * amount[2])
        if turned:
            expected = functional.adjust_hue(expected, 0.1 * amount[3])
        if contrasted and late:
            expected = (expected * (1 + 0.5 * amount[1])).clamp(0, 255).to(torch.uint8)
        difference = (out[i].int() - expected.int()).abs()
        assert int(difference.max()) <= 3  # a level that rounds the other way may be stretched by what follows
        assert float((difference > 0).float().mean()) < 5e-3
        assert torch.equal(Photometric()(pictures[i : i + 1], u[:, i : i + 1])[0], out[i])
    assert 0 < last < len(pictures)


def test_each_change_gets_half_of_the_pictures_and_leaves_the_rest(pictures: Tensor) -> None:
    n = 400
    some, u = pictures[:1].expand(n, -1, -1, -1), _draws(n)
    u[5:] = 0.9
    for change in range(4):
        only = u.clone()
        only[[other for other in range(4) if other != change]] = 0.9
        changed = (Photometric()(some, only) != some).flatten(1).any(1)
        assert torch.equal(changed, u[change] < 0.5)
        assert 160 < int(changed.sum()) < 240
    assert torch.equal(Photometric()(pictures, torch.full((9, len(pictures)), 0.5)), pictures)


SIMAUGMENT = (Jitter(0.4, 0.1, 0.8), Gray(0.2))


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("plain", ()),
        ("photometric", (Photometric(32, 0.5, 0.5, 0.1),)),
        ("pixel_simaugment", SIMAUGMENT),
        ({"pixel_simaugment": {}}, SIMAUGMENT),
        ({"pixel_simaugment": {"blur": 0.5}}, (*SIMAUGMENT, Blur(0.5))),
    ],
)
def test_parts(name: Any, steps: tuple[Step, ...]) -> None:
    assert pixel_colours(name) == steps


@pytest.mark.parametrize("function", COLOURS)
def test_no_pixel_moves_and_none_is_needed(function: Any, pictures: Tensor) -> None:
    flat = torch.full_like(pictures, 90)
    for step in function(**dict.fromkeys(inspect.signature(function).parameters, 1)):
        u = rng.uniform(8, torch.arange(step.draws)[:, None], torch.arange(len(flat)))
        assert bool((step(flat, u).flatten(2).amax(2) == step(flat, u).flatten(2).amin(2)).all())
        assert step(flat[:0], u[:, :0]).shape == flat[:0].shape


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("photometrics", "colours photometrics: unknown; did you mean photometric[?] The presets are plain, photometric"),
        ({"plain": {"blur": 1}}, "colours plain: no option blur; its options are none"),
        ({"pixel_simaugment": {"blurr": 1}}, "colours pixel_simaugment: no option blurr; its options are blur"),
        ({"pixel_simaugment": {"blur": 2}}, "colours pixel_simaugment: blur must be a number from 0 to 1, got 2"),
        ({"pixel_simaugment": {"blur": True}}, "got True"),
        ({"pixel_simaugment": None}, "colours pixel_simaugment: its options must be names with values, got None"),
        ({"plain": {}, "photometric": {}}, "give one preset"),
        (None, "colours None: give one preset"),
        ({None: {}}, "colours None: unknown"),
    ],
)
def test_wrong_colours_are_refused_in_one_line(spec: Any, message: str) -> None:
    with pytest.raises(TailwiseError, match=message) as refused:
        pixel_colours(spec)
    assert "\n" not in str(refused.value)


def test_every_option_has_a_range() -> None:
    for function in COLOURS:
        assert set(inspect.signature(function).parameters) <= set(RANGES)
