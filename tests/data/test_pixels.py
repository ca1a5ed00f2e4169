"""Masks of every kind, tables of classes, and splits of images with masks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from masks import encode, mask, packed_png, photo
from PIL import Image

from tailwise.data import Encoded, hold_out
from tailwise.data.pixels import OUTSIDE, EncodedMasks, PixelSplit, class_table, rarest, raw_values
from tailwise.types import IGNORE, TailwiseError

VALUES = np.array([[0, 1, 2], [3, 2, 255]], dtype=np.uint8)


def palette() -> Image.Image:
    """A mask whose colours say nothing about its indices."""
    image = Image.fromarray(VALUES)
    image.putpalette([255 - i // 3 for i in range(768)])
    return image


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encode(Image.fromarray(VALUES)), VALUES),
        (encode(Image.fromarray(VALUES), "TIFF"), VALUES),
        (encode(Image.fromarray(VALUES), "TIFF", compression="tiff_lzw"), VALUES),
        (encode(palette()), VALUES),
        (encode(Image.fromarray(VALUES.astype(np.uint16) * 257)), VALUES.astype(int) * 257),
        (encode(Image.fromarray(VALUES.astype(np.uint16) * 257), "TIFF"), VALUES.astype(int) * 257),
        (encode(Image.fromarray(VALUES.astype(np.int32)), "TIFF"), VALUES),
        (encode(Image.fromarray(VALUES > 1)), VALUES > 1),
        (encode(Image.fromarray(VALUES > 1), "TIFF"), VALUES > 1),
        (packed_png(2, bytes([0b00011011]), 4), [[0, 1, 2, 3]]),
        (packed_png(4, bytes([0x01, 0x2F]), 4), [[0, 1, 2, 15]]),
    ],
    ids=lambda _: "",
)
def test_masks_of_every_kind_are_read_right(content: bytes, expected: np.ndarray, tmp_path: Path) -> None:
    assert np.array_equal(raw_values(content), expected)
    (tmp_path / "a.jpg").write_bytes(content)  # a suffix need not tell the format
    assert np.array_equal(raw_values(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (photo(0, form="JPEG"), "a JPEG mask is lossy: save class numbers as PNG"),
        (encode(Image.fromarray(VALUES), "JPEG"), "a JPEG mask is lossy"),
        (encode(Image.fromarray(VALUES), "TIFF", compression="jpeg"), "a TIFF mask is lossy"),
        (encode(Image.fromarray(VALUES), "WEBP"), "a WEBP mask is lossy"),
        (encode(Image.fromarray(VALUES), "BMP"), "a BMP mask: save"),
        (encode(Image.fromarray(VALUES), "PPM"), "a PPM mask: save"),
        (photo(0), r"a colour mask \(RGB\): save class numbers as an 8-bit image"),
        (encode(Image.new("RGBA", (3, 2))), r"a colour mask \(RGBA\)"),
        (encode(Image.new("LA", (3, 2))), r"a colour mask \(LA\)"),
        (encode(Image.fromarray(np.zeros((2, 3), np.float32)), "TIFF"), "a mask of mode F"),
        (encode(Image.fromarray(np.array([[0, -1]], np.int32)), "TIFF"), r"mask values -1\.\.0"),
        (encode(Image.fromarray(np.array([[0, 65536]], np.int32)), "TIFF"), r"mask values 0\.\.65536"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_masks_that_are_refused(content: bytes, problem: str) -> None:
    with pytest.raises(TailwiseError, match=f"^{problem}"):
        raw_values(content)


def test_tables_of_classes() -> None:
    assert class_table(3, (255,))[[0, 1, 2, 3, 254, 255, 256]].tolist() == [0, 1, 2, OUTSIDE, OUTSIDE, IGNORE, OUTSIDE]
    assert class_table(3, (0,))[[0, 1, 2, 3, 4]].tolist() == [IGNORE, 0, 1, 2, OUTSIDE]
    assert class_table(3, (1, 4))[[0, 1, 2, 3, 4, 5]].tolist() == [0, IGNORE, 1, 2, IGNORE, OUTSIDE]
    for value in (-1, 65536):
        with pytest.raises(TailwiseError, match=rf"a mask cannot have the value {value}; give one in 0\.\.65535"):
            class_table(3, (value,))


def test_masks_are_decoded_on_demand(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(mask(1, 255))
    masks = EncodedMasks([mask(0, 1), tmp_path / "b.png", mask(2), b"?"], class_table(2, (255,)))
    assert len(masks) == 4
    assert masks[1].dtype == torch.int64
    assert torch.equal(masks[0], torch.tensor([0, 1] * 15).view(5, 6))
    assert torch.equal(masks[1], torch.tensor([1, IGNORE] * 15).view(5, 6))
    assert torch.equal(masks.subset(torch.tensor([1, 0]))[0], masks[1])
    with pytest.raises(TailwiseError, match=r"^mask 2: cannot be read \(it has a value that is no class and not ignored\)"):
        masks[2]
    with pytest.raises(TailwiseError, match=r"^mask 3: cannot be read .*; replace it or leave it out"):
        masks[3]
    (tmp_path / "b.png").unlink()
    with pytest.raises(TailwiseError, match=rf"^{tmp_path}/b.png: cannot be read"):
        masks[1]


def test_the_rarest_class_of_each_image() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (50, 7)).clip(min=2) - 2)
    pixels[:, 3] += 1
    totals = pixels.sum(0).tolist()
    expected = [min((totals[c], c) for c in range(7) if row[c] > 0)[1] for row in pixels.tolist()]
    assert rarest(pixels).tolist() == expected
    assert rarest(torch.tensor([[5, 0, 5], [0, 9, 0]])).tolist() == [0, 1]  # of equals the first
    assert rarest(torch.zeros(0, 3, dtype=torch.int64)).shape == (0,)


@pytest.fixture
def split() -> PixelSplit:
    """Eight images of two classes; the odd ones have both."""
    items = [mask(0), mask(0, 1)] * 4
    pixels = torch.tensor([[30, 0], [15, 15]] * 4)
    images = Encoded([photo(i) for i in range(8)])
    return PixelSplit(images, rarest(pixels), masks=EncodedMasks(items, class_table(2, (255,))), pixels=pixels)


def test_a_split_counts_pixels(split: PixelSplit) -> None:
    assert split.counts(2).tolist() == [180, 60]
    assert split.labels.tolist() == [0, 1] * 4
    with pytest.raises(TailwiseError, match="the masks have 2 classes, 3 were asked for"):
        split.counts(3)


def test_a_part_of_a_split(split: PixelSplit) -> None:
    kept, held = hold_out(split.labels, 0.25, seed=0)
    assert split.labels[held].tolist().count(1) == 1
    part = split.subset(kept.flip(0))
    assert part.labels.tolist() == split.labels[kept].tolist()[::-1]
    assert part.counts(2).tolist() == [135, 45]
    first = int(kept[-1])
    assert np.array_equal(part.images[0], split.images[first])
    assert torch.equal(part.masks[0], split.masks[first])
    assert split.subset(torch.tensor([0])).labels.tolist() == [0]
    assert part.to(torch.device("cpu")).pixels is part.pixels
