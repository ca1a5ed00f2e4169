"""The batched steps against the same thing done one picture at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise import rng
from tailwise.data.augment import CropFlip, Cutout, Shift

B = 64
KEY = rng.mix(1, torch.arange(B))


def _pixels(height: int = 12, width: int = 10) -> Tensor:
    return rng.integers(255, 2, torch.arange(B * 3 * height * width)).add(1).to(torch.uint8).view(B, 3, height, width)


def _crop(picture: Tensor, pad: int, top: int, left: int) -> Tensor:
    return F.pad(picture, (pad,) * 4)[:, top : top + picture.shape[1], left : left + picture.shape[2]]


def test_crop_flip_is_a_window_of_the_padded_picture() -> None:
    pixels = _pixels()
    out = CropFlip(4)(pixels, KEY)
    for i, key in enumerate(KEY):
        window = _crop(pixels[i], 4, int(rng.integers(9, key, 0)), int(rng.integers(9, key, 1)))
        assert torch.equal(out[i], window.flip(2) if rng.uniform(key, 2) < 0.5 else window)


def test_shift_is_a_window_without_a_flip() -> None:
    pixels = _pixels()
    out = Shift(1)(pixels, KEY)
    for i in range(B):
        windows = [_crop(pixels[i], 1, top, left) for top in range(3) for left in range(3)]
        assert sum(torch.equal(out[i], window) for window in windows) == 1


def test_cutout_is_one_black_square_cut_at_the_border() -> None:
    pixels = _pixels(20, 30)
    out = Cutout(16)(pixels, KEY)
    for i, key in enumerate(KEY):
        y, x = int(rng.integers(20, key, 0)), int(rng.integers(30, key, 1))
        expected = pixels[i].clone()
        expected[:, max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 0
        assert torch.equal(out[i], expected)


@pytest.mark.parametrize(("step", "places"), [(CropFlip(2), 50), (Shift(1), 9), (Cutout(4), 120)])
def test_every_outcome_happens_about_equally_often(step: CropFlip | Shift | Cutout, places: int) -> None:
    n = places * 100
    picture = torch.arange(1, 121).reshape(1, 1, 12, 10).expand(n, 3, -1, -1).to(torch.uint8)
    outcomes = step(picture, rng.mix(3, torch.arange(n))).flatten(1).unique(dim=0, return_counts=True)[1]
    assert outcomes.numel() == places
    assert int(outcomes.min()) > 50
    assert int(outcomes.max()) < 150


def test_inputs_are_left_alone() -> None:
    pixels = _pixels()
    before = pixels.clone()
    for step in (CropFlip(4), Shift(1), Cutout(4)):
        step(pixels, KEY)
    assert torch.equal(pixels, before)
