import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tailwise import rng
from tailwise.data import Stacked
from tailwise.data.augment import PerPicture, Sampled, Whole
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


KEYS = torch.zeros(3, dtype=torch.int64)


def test_whole_takes_stacked_pixels_as_they_are() -> None:
    images = Stacked(torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8))
    index = torch.tensor([4, 0, 4])
    assert torch.equal(Whole(8)(images, index, KEYS), images.pixels[index])


def test_whole_agrees_with_torchvision_on_other_sizes() -> None:
    from torchvision.transforms import v2

    images = Pictures((60, 40), (33, 70), (28, 28))
    out = Whole(28)(images, torch.arange(3), KEYS)
    reference = v2.Compose([v2.Resize(32), v2.CenterCrop(28), v2.PILToTensor()])
    for i in (0, 1):
        assert (out[i].int() - reference(images[i]).int()).abs().max() <= 1
    assert torch.equal(out[2], v2.PILToTensor()(images[2]).to(torch.uint8))


@pytest.mark.parametrize("sides", [(500, 20), (20, 500), (1, 1), (27, 29)])
def test_whole_fits_any_shape(sides: tuple[int, int]) -> None:
    assert Whole(28)(Pictures(sides), torch.tensor([0]), KEYS[:1]).shape == (1, 3, 28, 28)


def _noise(picture: Image.Image) -> Image.Image:
    return Image.fromarray(torch.randint(0, 256, (picture.height, picture.width, 3), dtype=torch.uint8).numpy())


def test_each_picture_draws_from_its_own_key() -> None:
    images = Stacked(torch.zeros(4, 3, 6, 6, dtype=torch.uint8))
    key = rng.mix(torch.tensor([1, 2, 3, 1]))
    out = Sampled(_noise)(images, torch.arange(4), key)
    assert torch.equal(out[0], out[3])
    assert not torch.equal(out[0], out[1])
    assert torch.equal(out[1:2], Sampled(_noise)(images, torch.tensor([1]), key[1:2]))
    assert torch.equal(out, PerPicture(_noise)(images.pixels, key))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    Sampled(_noise)(Stacked(torch.zeros(3, 3, 6, 6, dtype=torch.uint8)), torch.arange(3), KEYS)
    assert torch.equal(before, torch.random.get_rng_state())


def test_per_picture_keeps_the_layout() -> None:
    pixels = torch.randint(0, 256, (3, 3, 4, 6), dtype=torch.uint8)
    assert torch.equal(PerPicture(lambda picture: picture)(pixels, KEYS), pixels)
