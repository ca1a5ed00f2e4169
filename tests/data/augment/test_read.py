"""Reading: whole pictures and random boxes, from memory and from files."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from tailwise import rng
from tailwise.data import Stacked
from tailwise.data.augment import Read, ResizedCropFlip, Whole
from tailwise.data.augment.read import draw_boxes
from tailwise.types import TailwiseError


class Pictures:
    """Pictures of differing sizes, as a folder holds them."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.pictures = [
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8))
            for i, (width, height) in enumerate(sizes)
        ]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> Image.Image:
        return self.pictures[i]

    def subset(self, indices: Tensor) -> "Pictures":
        raise TailwiseError("not needed here")


def _draws(read: Read, n: int) -> Tensor:
    return rng.uniform(1, torch.arange(read.draws)[:, None], torch.arange(n))


def _pixels(images: Pictures) -> Tensor:
    return torch.stack([v2.functional.pil_to_tensor(picture) for picture in images.pictures])


def test_whole_takes_stacked_pixels_as_they_are() -> None:
    images = Stacked(_pixels(Pictures(*[(8, 8)] * 5)))
    index = torch.tensor([4, 0, 4])
    assert torch.equal(Whole(8)(images, index, torch.empty(0, 3)), images.pixels[index])


def test_whole_agrees_with_torchvision_on_other_sizes() -> None:
    images = Pictures((60, 40), (33, 70), (28, 28))
    out = Whole(28)(images, torch.arange(3), torch.empty(0, 3))
    on_tensors = v2.Compose([v2.PILToTensor(), v2.Resize(32), v2.CenterCrop(28)])
    on_pictures = v2.Compose([v2.Resize(32), v2.CenterCrop(28), v2.PILToTensor()])
    for i in (0, 1):
        for theirs in (on_tensors, on_pictures):
            assert (out[i].int() - theirs(images[i]).int()).abs().max() <= 1
    assert torch.equal(out[2], v2.functional.pil_to_tensor(images[2]))


@pytest.mark.parametrize("sides", [(500, 20), (20, 500), (1, 1), (27, 29)])
def test_whole_fits_any_shape(sides: tuple[int, int]) -> None:
    assert Whole(28)(Pictures(sides), torch.tensor([0]), torch.empty(0, 1)).shape == (1, 3, 28, 28)


@pytest.mark.parametrize("read", [Whole(12), ResizedCropFlip(12, 0.1)])
@pytest.mark.parametrize("sides", [(12, 12), (12, 17), (30, 23)])
def test_memory_and_files_give_the_same(read: Read, sides: tuple[int, int]) -> None:
    images, index = Pictures(*[sides] * 20), torch.arange(20).flip(0)
    u = _draws(read, 20)
    assert torch.equal(read(images, index, u), read(Stacked(_pixels(images)), index, u))


def test_boxes_are_drawn_as_torchvision_draws_them() -> None:
    """Ten tries: area, ratio; then the place; in plain loops."""
    u, sides = rng.uniform(2, torch.arange(22)[:, None], torch.arange(300)), (40, 90)
    for height, width in (sides, sides[::-1], (50, 50)):
        boxes = draw_boxes(u, height, width, 0.3)
        for i in range(300):
            for area, ratio in zip((0.3 + 0.7 * u[:10, i]).tolist(), u[10:20, i].tolist(), strict=True):
                ratio = math.exp(math.log(3 / 4) + ratio * (math.log(4 / 3) - math.log(3 / 4)))
                wide, high = (round(math.sqrt(area * height * width * r)) for r in (ratio, 1 / ratio))
                if 0 < wide <= width and 0 < high <= height:
                    top, left = int(u[20, i] * (height - high + 1)), int(u[21, i] * (width - wide + 1))
                    break
            else:
                wide, high = min(width, round(height * 4 / 3)), min(height, round(width / (3 / 4)))
                top, left = (height - high) // 2, (width - wide) // 2
            assert boxes[:, i].tolist() == [top, left, high, wide]


@pytest.mark.parametrize(("height", "width", "min_area"), [(32, 32, 0.2), (32, 32, 0.08), (375, 500, 0.08), (20, 90, 0.6)])
def test_boxes_are_distributed_as_torchvisions(height: int, width: int, min_area: float) -> None:
    n, transform = 1500, v2.RandomResizedCrop(32, scale=(min_area, 1))
    ours = draw_boxes(rng.uniform(7, torch.arange(22)[:, None], torch.arange(n)), height, width, min_area).double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        picture = torch.empty(3, height, width, dtype=torch.uint8)
        drawn = [transform.make_params([picture]) for _ in range(n)]
    theirs = torch.tensor([[float(box[name]) for box in drawn] for name in ("top", "left", "height", "width")]).double()
    area, their_area = ours[2] * ours[3], theirs[2] * theirs[3]
    for mine, other in [*zip(ours, theirs, strict=True), (area, their_area), (ours[2] / ours[3], theirs[2] / theirs[3])]:
        values = torch.cat([mine, other]).unique()
        below = [torch.searchsorted(side.sort().values, values, right=True) / n for side in (mine, other)]
        assert float((below[0] - below[1]).abs().max()) < 1.95 * (2 / n) ** 0.5  # Kolmogorov and Smirnov, p = 0.001


def test_half_of_the_crops_are_mirrored() -> None:
    ramp = Stacked(torch.arange(0, 256, 8).to(torch.uint8).expand(1, 3, 32, 32).contiguous())
    read = ResizedCropFlip(32, 0.5)
    out = read(ramp, torch.zeros(400, dtype=torch.int64), _draws(read, 400)).int()
    assert 160 < int((out[:, 0, 0, 0] > out[:, 0, 0, -1]).sum()) < 240
