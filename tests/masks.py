"""Small images and masks as encoded bytes, for the tests of pixel tasks."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def photo(seed: int, size: tuple[int, int] = (6, 5), form: str = "PNG") -> bytes:
    """A random image (width, height) = ``size``, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels), form)


def mask(*values: int, size: tuple[int, int] = (6, 5), dtype: type = np.uint8) -> bytes:
    """A gray PNG of ``size``: the values in turn, over and over."""
    return encode(Image.fromarray(np.resize(np.array(values, dtype=dtype), size[::-1])))


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """A Pillow image as a file's bytes."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def packed_png(bits: int, row: bytes, width: int) -> bytes:
    """A gray PNG of one row, of so many bits a pixel: what Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, 1, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")


def put(path: Path, content: bytes) -> None:
    """A file, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
