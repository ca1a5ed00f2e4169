"""Images in memory or on demand."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tailwise.data import Encoded, Split, Stacked, stack_if_small
from tailwise.data.source import to_rgb
from tailwise.types import TailwiseError


def png(seed: int, size: tuple[int, int] = (6, 5)) -> bytes:
    """A random image (width, height) = ``size`` as PNG bytes, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_small_images_of_one_size_are_stacked(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    labels = torch.tensor([0, 1, 1])
    encoded = Split(Encoded([tmp_path / "0.png", png(1), tmp_path / "2.png"]), labels, ("a", "b", "c"))
    stacked = stack_if_small(encoded)
    assert isinstance(stacked.images, Stacked)
    assert stacked.images.pixels.shape == (3, 3, 5, 6)
    assert stacked.groups == encoded.groups
    for i in range(3):
        assert np.array_equal(stacked.images[i], encoded.images[i])
    assert stack_if_small(stacked) is stacked
    assert stack_if_small(encoded, limit=5) is encoded
    mixed = Split(Encoded([png(0), png(1, (5, 6)), png(2)]), labels)
    assert stack_if_small(mixed) is mixed


@pytest.mark.parametrize(
    "images", [Encoded([png(0), png(1), png(2)]), Stacked(torch.arange(3 * 12).byte().reshape(3, 3, 2, 2))]
)
def test_subset_follows_the_indices(images: Encoded | Stacked) -> None:
    part = Split(images, torch.tensor([5, 6, 7])).subset(torch.tensor([2, 0]))
    assert part.labels.tolist() == [7, 5]
    assert len(part.images) == 2
    assert np.array_equal(part.images[0], images[2])


def test_pixels_of_another_kind_are_refused() -> None:
    with pytest.raises(TailwiseError, match=r"expected uint8 \(N, 3, H, W\)"):
        Stacked(torch.zeros(2, 3, 4, 4))


def test_a_file_that_goes_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=r"gone\.png: cannot be read"):
        Encoded([tmp_path / "gone.png"])[0]


def test_everything_becomes_rgb() -> None:
    gray = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    three = np.repeat(gray[..., None], 3, axis=-1)
    assert np.array_equal(to_rgb(Image.fromarray(gray)), three)
    assert np.array_equal(to_rgb(Image.fromarray(gray.astype(np.uint16) * 256 + 7)), three)
    clear = Image.fromarray(gray).convert("P")
    clear.info["transparency"] = bytes(range(256))
    assert np.array_equal(to_rgb(clear), three)
    for mode in ("1", "CMYK", "RGBA", "LA", "YCbCr", "F", "I"):
        assert to_rgb(Image.new(mode, (3, 2))).mode == "RGB"


def test_only_images_in_memory_move_to_a_device() -> None:
    """The device `meta` holds no data, but every machine has it."""
    labels, elsewhere = torch.tensor([0, 1]), torch.device("meta")
    stacked = Split(Stacked(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)), labels, ("a", "b")).to(elsewhere)
    assert isinstance(stacked.images, Stacked)
    assert stacked.images.pixels.device == elsewhere
    assert stacked.labels.device.type == "cpu"
    assert stacked.groups == ("a", "b")
    encoded = Split(Encoded([png(0), png(1)]), labels)
    assert encoded.to(elsewhere) is encoded
