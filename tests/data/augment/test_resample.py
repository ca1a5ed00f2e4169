"""Resized boxes against torchvision, bit for bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional

from tailwise import rng
from tailwise.data.augment.resample import TABLES, _tables, resize_boxes

N = 40


def _noise(height: int, width: int) -> Tensor:
    return rng.integers(256, 3, torch.arange(N * 3 * height * width)).to(torch.uint8).view(N, 3, height, width)


def _kernel(pixels: Tensor, height: int, width: int) -> Tensor:
    """What torchvision's resize calls on a CPU."""
    return F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (28, 36, 32), (64, 48, 32), (50, 64, 11), (5, 3, 16)])
def test_boxes_equal_torchvisions_resized_crop(height: int, width: int, size: int) -> None:
    pixels, mirrored = _noise(height, width), rng.uniform(4, torch.arange(N)) < 0.5
    high, wide = (1 + rng.integers(side, side, torch.arange(N)) for side in (height, width))
    high[0], wide[0], high[1], wide[1] = height, width, 1, 1
    top, left = ((rng.uniform(6, torch.arange(N)) * (side - box + 1)).long() for side, box in ((height, high), (width, wide)))
    box = torch.stack([top, left, high, wide])
    out = resize_boxes(pixels, box, mirrored, size, (size, size))
    for i in range(N):
        mine = out[i].flip(2) if mirrored[i] else out[i]
        assert torch.equal(mine, _kernel(functional.crop(pixels[i : i + 1], *box[:, i].tolist()), size, size)[0])
        theirs = functional.resized_crop(pixels[i], *box[:, i].tolist(), size=[size, size], antialias=True)
        assert int((mine.int() - theirs.int()).abs().max()) <= 1  # equal where it takes the kernel for uint8


def test_a_window_of_the_resized_picture() -> None:
    pixels = _noise(20, 30)
    box = torch.tensor([[0], [0], [20], [30]]).expand(4, N)
    out = resize_boxes(pixels, box, torch.zeros(N, dtype=torch.bool), 9, (12, 17), (2, 5))
    assert torch.equal(out, _kernel(pixels, 12, 17)[:, :, 2:11, 5:14])


def test_a_picture_is_the_same_alone() -> None:
    pixels, box = _noise(32, 32), torch.tensor([[3], [1], [23], [29]]).expand(4, N)
    mirrored = torch.arange(N) % 2 == 0
    together = resize_boxes(pixels, box, mirrored, 32, (32, 32))
    for i in range(N):
        assert torch.equal(resize_boxes(pixels[i : i + 1], box[:, :1], mirrored[i : i + 1], 32, (32, 32))[0], together[i])


def test_no_boxes_are_no_pictures() -> None:
    none = torch.zeros(4, 0, dtype=torch.int64)
    assert resize_boxes(_noise(20, 30)[:0], none, none[0].bool(), 9, (9, 9)).shape == (0, 3, 9, 9)


def test_pictures_of_ever_new_sizes_do_not_fill_the_memory() -> None:
    for side in range(4, 4 + 2 * TABLES):
        resize_boxes(
            _noise(side, side)[:1], torch.tensor([[0], [0], [side], [side]]), torch.zeros(1, dtype=torch.bool), 3, (3, 3)
        )
    assert _tables.cache_info().currsize <= TABLES
