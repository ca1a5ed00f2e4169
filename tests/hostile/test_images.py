"""Images that are none, that would take all memory, or that are no files."""

import csv
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import picture
from PIL import Image

from tailwise.data import open_source
from tailwise.data.augment.pixels import read_whole
from tailwise.data.augment.read import Whole
from tailwise.data.checks import Sample, decoded
from tailwise.data.source import Encoded
from tailwise.types import TailwiseError


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and has one row."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jpg", b"x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (png_of(65_000, 65_000), "decompression bomb"),
        (png_of(2**31 - 1, 2**31 - 1), "unreadable"),
        (png_of(60, 60), "truncated"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "not an image"),
        (zipped(), "not an image"),
        (b"", "empty file"),
        (b"GIF89a", "not an image"),
    ],
    ids=["65000", "2^31", "truncated", "svg", "zip", "empty", "gif"],
)
def test_an_image_that_is_none_says_what_it_is(content: bytes, problem: str) -> None:
    assert problem in decoded(Sample("x.jpg", 0, content)).problem
    with pytest.raises(TailwiseError, match="image 0: cannot be read"):
        Encoded([content])[0]


@pytest.mark.parametrize("mode", ["P", "CMYK", "I;16", "LA", "1", "F", "YCbCr"])
def test_odd_pixels_are_read_as_rgb(mode: str) -> None:
    out = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert(mode).save(out, "JPEG" if mode == "YCbCr" else "TIFF")
    assert Encoded([out.getvalue()])[0].mode == "RGB"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for c in "ab":
        for i in range(4):
            picture(photos / c / f"{i}.png", 10 * ord(c) + i)
    os.mkfifo(photos / "a" / "pipe.png")
    (photos / "a" / "folder.jpg").mkdir()
    (photos / "a" / "circle.png").symlink_to("circle.png")
    (photos / "b" / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(TailwiseError, match="4 of 12 images are bad"):
        open_source(photos, issues_path=tmp_path / "issues.csv")
    with (tmp_path / "issues.csv").open(newline="") as file:
        problems = {Path(row["path"]).name: row["problem"] for row in csv.DictReader(file)}
    assert problems["pipe.png"] == problems["folder.jpg"] == problems["zero.png"] == "not a file"
    assert problems["circle.png"].startswith("unreadable")
    with pytest.raises(TailwiseError, match="not a file"):
        Encoded([photos / "a" / "pipe.png"])[0]


@pytest.mark.parametrize("size", [(65_000, 1), (1, 65_000)])
def test_a_line_of_pixels_takes_no_memory(size: tuple[int, int]) -> None:
    out = io.BytesIO()
    Image.new("RGB", size, (9, 8, 7)).save(out, "PNG")
    line = Encoded([out.getvalue()])
    seen = Whole(224)(line, torch.zeros(1, dtype=torch.int64), torch.zeros(0, 1))
    assert seen.shape == (1, 3, 224, 224)
    assert seen[0, :, 0, 0].tolist() == [9, 8, 7]
    with pytest.raises(TailwiseError, match=r"would have .* at short side 512; cut it"):
        read_whole(line, 0, 512)
    assert read_whole(line, 0).shape[1:] == size[::-1]


def test_of_a_picture_that_is_not_long_all_is_seen() -> None:
    wide = torch.randint(0, 256, (1, 40, 3), dtype=torch.uint8).numpy().repeat(10, 0).repeat(3, 1)
    out = io.BytesIO()
    Image.fromarray(wide).save(out, "PNG")
    at = torch.zeros(1, dtype=torch.int64)
    from tailwise.data.augment import read

    seen = Whole(8)(Encoded([out.getvalue()]), at, torch.zeros(0, 1))
    full, (top, left) = read._around(10, 120, 8)
    assert torch.equal(seen, read._resized(Image.fromarray(wide), full)[:, :, top : top + 8, left : left + 8])
