"""Colour operations that no policy holds, against torchvision's on tensors; those of policies are in test_policy.py."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from tailwise.data.augment import colour


@pytest.mark.parametrize("shift", [-0.5, -0.31, -0.1, -0.01, 0.0, 0.05, 0.1, 0.25, 0.49])
def test_hue_differs_from_torchvisions_by_one_level_in_few_pixels(pictures: Tensor, shift: float) -> None:
    pixels = pictures
    out = pixels.float()
    colour.hue_(out, torch.full((len(pixels),), shift, dtype=torch.float64))
    difference = (out - functional.adjust_hue(pixels, shift).float()).abs()
    assert float(difference.max()) <= 1
    assert float((difference > 0).float().mean()) < 1e-3


def test_gray_equals_torchvisions(pictures: Tensor) -> None:
    assert torch.equal(colour.gray(pictures), functional.rgb_to_grayscale(pictures, 3))


@pytest.mark.parametrize("taps", [1, 3, 7, 23])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_differs_from_torchvisions_by_one_level_in_few_pixels(pictures: Tensor, taps: int, sigma: float) -> None:
    pixels = pictures
    sigmas = torch.full((len(pixels),), sigma, dtype=torch.float64)
    sigmas[0] = 1.3
    difference = (
        colour.blur(pixels, sigmas, taps).int() - functional.gaussian_blur(pixels, [taps, taps], [sigma] * 2).int()
    ).abs()
    assert int(difference[1:].max()) <= 1
    assert float((difference[1:] > 0).float().mean()) < 1e-3
    assert torch.equal(colour.blur(pixels[:1], sigmas[:1], taps), colour.blur(pixels, sigmas, taps)[:1])


def test_tiny_pictures_are_not_sharpened(pictures: Tensor) -> None:
    tiny = pictures[:, :, :2]
    assert torch.equal(colour.sharpness(tiny, torch.ones(len(tiny))), functional.adjust_sharpness(tiny, 2.0))
