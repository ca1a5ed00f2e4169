"""Small images with masks: coloured rectangles, one colour for each class, the last class rare."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tailwise.data.pixels import EncodedMasks, PixelSplit, class_table, rarest
from tailwise.data.source import Encoded

COLOURS = np.array([[40, 90, 200], [200, 60, 50], [60, 180, 70], [230, 220, 60]])
IGNORED = 255


def scene(seed: int, height: int = 48, width: int = 64, classes: int = 4) -> tuple[Image.Image, Image.Image]:
    """A picture and its mask: halves of two classes, a patch of the third, a thin bar of each other, a corner ignored."""
    draw = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    mask[int(draw.integers(height // 3, 2 * height // 3)) :] = 1
    top, left = int(draw.integers(0, height // 2)), int(draw.integers(0, width // 2))
    mask[top : top + height // 4, left : left + width // 4] = 2
    for rare in range(3, classes):
        column = int(draw.integers(2, width - 3))
        mask[:, column : column + 2] = rare
    pixels = COLOURS[mask % len(COLOURS)] + draw.integers(-20, 21, (height, width, 3))
    mask[:4, :4] = IGNORED
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), Image.fromarray(mask)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def split(n: int, first: int = 0, classes: int = 4, height: int = 48, width: int = 64) -> PixelSplit:
    """``n`` scenes in memory."""
    images, masks = zip(*(map(png, scene(first + i, height, width, classes)) for i in range(n)), strict=True)
    labels = EncodedMasks(masks, class_table(classes, [IGNORED]))
    pixels = torch.stack([torch.bincount(labels[i][labels[i] >= 0], minlength=classes) for i in range(n)])
    return PixelSplit(Encoded(images), rarest(pixels), masks=labels, pixels=pixels)


def folder(root: Path, train: int = 12, val: int = 4, test: int = 4) -> Path:
    """Scenes as files: images/SPLIT/N.png beside masks/SPLIT/N.png, and classes.txt."""
    first = 0
    for name, n in (("train", train), ("val", val), ("test", test)):
        for part in ("images", "masks"):
            (root / part / name).mkdir(parents=True)
        for i in range(first, first + n):
            image, mask = scene(i)
            image.save(root / "images" / name / f"{i}.png")
            mask.save(root / "masks" / name / f"{i}.png")
        first += n
    (root / "classes.txt").write_text("sky\nground\nhouse\npole\n")
    return root
