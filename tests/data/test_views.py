import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tailwise import rng
from tailwise.data import Encoded, Images, Stacked
from tailwise.data.augment import PRESETS, Whole, preset
from tailwise.data.views import CIFAR, HALF, IMAGENET, MultiView, Normalisation, multi_view, normalisation
from tailwise.types import TailwiseError

NAMES = [function.__name__ for function in PRESETS]
RANDOM = [name for name in NAMES if name != "plain"]
INDEX = torch.tensor([3, 0, 5, 3])
KEY = rng.mix(9, torch.tensor([10, 11, 12, 13]))


def _images() -> Stacked:
    """Smooth colourful pictures, so that every colour operation shows."""
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    pictures = [torch.stack([40 + 12 * x, 240 - 11 * y, 10 * i + 3 * (x + y)]) for i in range(8)]
    return Stacked(torch.stack(pictures).to(torch.uint8))


def _views(*names: str) -> MultiView:
    return multi_view(names, 16, HALF)


@pytest.mark.parametrize("name", NAMES)
def test_one_draw_does_not_depend_on_the_batch_it_is_in(name: str) -> None:
    images, views = _images(), _views(name, name)
    whole = views.of(images, INDEX, KEY)
    assert whole.shape == (2, 4, 3, 16, 16)
    assert whole.dtype == torch.float32
    turned = views.of(images, INDEX.flip(0), KEY.flip(0)).flip(1)
    assert torch.equal(whole, turned)
    for i in range(4):
        assert torch.equal(views.of(images, INDEX[i : i + 1], KEY[i : i + 1]), whole[:, i : i + 1])


@pytest.mark.parametrize("name", RANDOM)
def test_views_and_keys_draw_differently(name: str) -> None:
    images, n = _images(), 40
    same = torch.zeros(n, dtype=torch.int64)
    out = _views(name, name).of(images, same, rng.mix(torch.arange(n)))
    pairs = (out[0] == out[1]).flatten(1).all(1)
    assert int(pairs.sum()) < n / 3  # a shift of a digit has only nine outcomes
    assert out[0].flatten(1).unique(dim=0).shape[0] >= (6 if name == "shift" else n / 2)


def test_a_view_does_not_depend_on_the_others() -> None:
    images = _images()
    three = _views("cifar_autoaugment", "simaugment", "crop_flip").of(images, INDEX, KEY)
    assert torch.equal(three[1], _views("plain", "simaugment").of(images, INDEX, KEY)[1])
    assert torch.equal(three[2], _views("plain", "plain", "crop_flip").of(images, INDEX, KEY)[2])
    mixed = _views("simaugment", "crop_flip", "simaugment").of(images, INDEX, KEY)
    assert torch.equal(mixed[2], _views("plain", "plain", "simaugment").of(images, INDEX, KEY)[2])
    assert torch.equal(mixed[1], _views("plain", "crop_flip").of(images, INDEX, KEY)[1])


def test_equal_augmentations_are_made_in_one_call() -> None:
    sizes = []

    @dataclass(frozen=True)
    class Counted:
        name: str

        def __call__(self, images: Images, index: Tensor, key: Tensor) -> Tensor:
            sizes.append((self.name, len(index)))
            return preset("plain", 16)(images, index, key)

    MultiView([Counted("a"), Counted("b"), Counted("a"), Counted("a")], HALF).of(_images(), INDEX, KEY)
    assert sizes == [("a", 12), ("b", 4)]


def test_pixels_are_normalised_where_they_are() -> None:
    assert HALF(torch.empty(2, 3, 4, 4, dtype=torch.uint8, device="meta")).device.type == "meta"


def test_plain_views_are_the_normalised_pictures() -> None:
    images = _images()
    out = multi_view(["plain"], 16, CIFAR).of(images, INDEX, KEY)
    for c in range(3):
        expected = (images.pixels[INDEX][:, c].double() / 255 - CIFAR.mean[c]) / CIFAR.std[c]
        torch.testing.assert_close(out[0, :, c].double(), expected, atol=1e-6, rtol=1e-6)


def test_normalisation_by_source() -> None:
    assert normalisation("cifar10") is normalisation("cifar100") is CIFAR
    assert normalisation("digits") is HALF
    assert normalisation("photos") is normalisation("my_digits") is IMAGENET
    assert float(HALF(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2).expand(3, 1, 2)).abs().min()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_any_size_become_one_size(name: str, tmp_path: object) -> None:
    from io import BytesIO

    encoded = []
    for i, (width, height) in enumerate([(40, 30), (20, 50), (16, 16)]):
        file = BytesIO()
        noise = np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "PNG")
        encoded.append(file.getvalue())
    out = _views(name).of(Encoded(encoded), torch.arange(3), KEY[:3])
    assert out.shape == (1, 3, 3, 16, 16)


def test_autoaugment_ends_with_cutout() -> None:
    """A quarter of the area or more is black in most pictures, as a square of 8 of 16 makes it."""
    white = Stacked(torch.full((1, 3, 16, 16), 255, dtype=torch.uint8))
    index = torch.zeros(100, dtype=torch.int64)
    augment = preset({"cifar_autoaugment": {"pad": 0, "cutout": 8}}, 16)
    out = augment(white, index, rng.mix(torch.arange(100)))
    squares = (out == 0).all(1).unfold(1, 4, 1).unfold(2, 4, 1).all(-1).all(-1).flatten(1).any(1)
    assert int(squares.sum()) >= 95  # even at a corner a quarter of the square is left


def test_gray_and_colour_shares_of_simaugment() -> None:
    n = 400
    out = preset("simaugment", 16)(_images(), torch.zeros(n, dtype=torch.int64), rng.mix(torch.arange(n)))
    gray = (out.float().std(1) < 1).flatten(1).all(1).float().mean()
    assert 0.14 < float(gray) < 0.26


def test_gray_and_blur_are_options() -> None:
    noise = Stacked(rng.integers(256, torch.arange(3 * 32 * 32)).to(torch.uint8).view(1, 3, 32, 32))
    index, key = torch.zeros(100, dtype=torch.int64), rng.mix(torch.arange(100))

    def made(**options: float) -> Tensor:
        return preset({"imagenet_randaugment": {"magnitude": 0, "min_area": 1} | options}, 32)(noise, index, key).float()

    assert (
        float((made(gray=0.5).std(1).mean((1, 2)) < 20).float().mean())
        > 0.3
        > float((made().std(1).mean((1, 2)) < 20).float().mean())
    )
    assert made(blur=1).diff(dim=3).abs().mean() < 0.7 * made().diff(dim=3).abs().mean()


def test_smallest_crop_is_an_option() -> None:
    ramp = torch.arange(0, 256, 4).to(torch.uint8).view(1, 1, 1, 64).expand(1, 3, 64, 64).contiguous()
    index, key = torch.zeros(300, dtype=torch.int64), rng.mix(torch.arange(300))

    def narrowest(min_area: float) -> int:
        crops = preset({"resized_crop_flip": {"min_area": min_area}}, 64)(Stacked(ramp), index, key).int()
        return int((crops.amax((1, 2, 3)) - crops.amin((1, 2, 3))).min())

    assert narrowest(0.9) > 180 > narrowest(0.2) > 60 > narrowest(0.01)


def test_unknown_names_and_options_name_the_nearest() -> None:
    with pytest.raises(TailwiseError, match="did you mean crop_flip"):
        preset("crop_flp", 32)
    with pytest.raises(TailwiseError, match="no option scale; its options are min_area"):
        preset({"simaugment": {"scale": 1}}, 32)
    with pytest.raises(TailwiseError, match="its options are none"):
        preset({"plain": {"size": 3}}, 32)
    with pytest.raises(TailwiseError, match="one preset"):
        preset({"plain": {}, "shift": {}}, 32)


def test_crop_and_flip_are_fast() -> None:
    """The bar is 20,000 images a second on one core; a loaded machine is allowed a quarter of it."""
    images = Stacked(torch.zeros(1024, 3, 32, 32, dtype=torch.uint8))
    views, index = multi_view(["crop_flip"], 32, CIFAR), torch.arange(1024)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            views.of(images, index, index)
            best = min(best, time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    assert 1024 / best > 5_000


def test_an_augmentation_is_any_callable() -> None:
    def black(images: object, index: Tensor, key: Tensor) -> Tensor:
        return torch.zeros(len(index), 3, 16, 16, dtype=torch.uint8)

    out = MultiView([Whole(16), black], Normalisation((0, 0, 0), (1, 1, 1))).of(_images(), INDEX, KEY)
    assert out[0].any()
    assert not out[1].any()
