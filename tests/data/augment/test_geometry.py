"""Pixels that move, against the same thing done one picture at a time."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise import rng
from tailwise.data.augment import CropFlip, Cutout, Shift, Step

B = 64


def _pixels(height: int = 12, width: int = 10) -> Tensor:
    return rng.integers(255, 2, torch.arange(B * 3 * height * width)).add(1).to(torch.uint8).view(B, 3, height, width)


def _draws(step: Step, n: int = B) -> Tensor:
    return rng.uniform(1, torch.arange(step.draws)[:, None], torch.arange(n))


def _crop(picture: Tensor, pad: int, top: int, left: int) -> Tensor:
    return F.pad(picture, (pad,) * 4)[:, top : top + picture.shape[1], left : left + picture.shape[2]]


@pytest.mark.parametrize("sides", [(12, 10), (7, 15)])
def test_crop_flip_is_a_window_of_the_padded_picture(sides: tuple[int, int]) -> None:
    pixels, step = _pixels(*sides), CropFlip(4)
    u = _draws(step)
    out = step(pixels, u)
    for i in range(B):
        window = _crop(pixels[i], 4, int(9 * u[0, i]), int(9 * u[1, i]))
        assert torch.equal(out[i], window.flip(2) if u[2, i] < 0.5 else window)


def test_shift_is_a_window_without_a_flip() -> None:
    pixels, step = _pixels(), Shift(1)
    u = _draws(step)
    out = step(pixels, u)
    for i in range(B):
        assert torch.equal(out[i], _crop(pixels[i], 1, int(3 * u[0, i]), int(3 * u[1, i])))


@pytest.mark.parametrize("sides", [(20, 30), (30, 20), (5, 5)])
def test_cutout_is_one_black_square_cut_at_the_border(sides: tuple[int, int]) -> None:
    pixels, step = _pixels(*sides), Cutout(16)
    u = _draws(step)
    out = step(pixels, u)
    for i in range(B):
        y, x = int(sides[0] * u[0, i]), int(sides[1] * u[1, i])
        expected = pixels[i].clone()
        expected[:, max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 0
        assert torch.equal(out[i], expected)


@pytest.mark.parametrize(("step", "places"), [(CropFlip(2), 50), (Shift(1), 9), (Cutout(4), 120)])
def test_every_outcome_happens_about_equally_often(step: Step, places: int) -> None:
    n = places * 100
    picture = torch.arange(1, 121).reshape(1, 1, 12, 10).expand(n, 3, -1, -1).to(torch.uint8)
    outcomes = step(picture, _draws(step, n)).flatten(1).unique(dim=0, return_counts=True)[1]
    assert outcomes.numel() == places
    assert int(outcomes.min()) > 50
    assert int(outcomes.max()) < 150


@pytest.mark.parametrize("step", [CropFlip(4), Shift(1), Cutout(4)])
def test_no_pictures_stay_no_pictures(step: Step) -> None:
    assert step(_pixels()[:0], _draws(step, 0)).shape == (0, 3, 12, 10)


@pytest.mark.parametrize("make", [CropFlip, Shift, Cutout])
def test_inputs_are_left_alone(make: Callable[[], Step]) -> None:
    pixels, step = _pixels(), make()
    step(pixels, _draws(step))
    assert torch.equal(pixels, _pixels())
