"""Folders of pictures with copies, look-alikes and damage planted in them."""

from pathlib import Path

import numpy as np
from PIL import Image


def scene(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A smooth picture (width, height), another one for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save(path: Path, image: Image.Image, **options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def folder(root: Path, counts: dict[str, int], first: int = 0) -> Path:
    """``root/class/i.png``, no two alike."""
    seed = first
    for name, number in counts.items():
        for i in range(number):
            save(root / name / f"{i}.png", scene(seed))
            seed += 1
    return root
