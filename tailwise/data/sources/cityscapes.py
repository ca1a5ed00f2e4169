"""Cityscapes (Cordts et al., CVPR 2016) and data sets in its form: ``leftImg8bit/SPLIT/CITY`` with ``gtFine/SPLIT/CITY``."""

from pathlib import Path

import numpy as np

from tailwise.data.pixel_checks import examine_pairs
from tailwise.data.pixel_looks import Pair
from tailwise.data.pixels import RAW, Table
from tailwise.data.source import Source
from tailwise.types import IGNORE, TailwiseError

CLASSES = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""The 19 classes that are trained and judged, each with its id in ``labelIds`` files; ``trainIds`` are their places here."""

_IMAGE = "_leftImg8bit.png"
_KINDS = ("_gtFine_labelIds.png", "_gtFine_labelTrainIds.png")


def is_cityscapes(path: Path) -> bool:
    """Whether the folders ``leftImg8bit`` and ``gtFine`` lie in a folder."""
    return all((path / kind).is_dir() for kind in ("leftImg8bit", "gtFine"))


def open_cityscapes(
    path: Path,
    *,
    strict: bool = False,
    issues_path: str | Path | None = None,
    ignore: int | None = None,
    cache: Path | None = None,
) -> Source:
    """Splits train (2,975 images) and test: the 500 of ``val``, as papers report, for the masks of ``test`` are all ignored.

    A test split that has labels is read as such, val is then val. Masks are ``x_gtFine_labelIds.png``, or where there are
    none ``x_gtFine_labelTrainIds.png``; whatever is not of the 19 classes is ignored.
    Raises `TailwiseError` for a tree without training images or masks, for ``ignore``, and as `examine_pairs`.
    """
    if ignore is not None:
        raise TailwiseError(
            f"{path}: Cityscapes ignores all but its 19 classes, so ignore={ignore} means nothing; leave it out"
        )
    kind = next((kind for kind in _KINDS if any((path / "gtFine" / "train").glob(f"*/*{kind}"))), None)
    if kind is None or not any((path / "leftImg8bit" / "train").glob(f"*/*{_IMAGE}")):
        lacking = f"gtFine/train/CITY/x{_KINDS[0]}" if kind is None else f"leftImg8bit/train/CITY/x{_IMAGE}"
        raise TailwiseError(
            f"{path}: no {lacking} in it; unpack gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip there"
        )
    pairs = {}
    for split in ("train", "val", "test"):
        images, masks = (_files(path / part / split, end) for part, end in (("leftImg8bit", _IMAGE), ("gtFine", kind)))
        if images and masks:
            keys = sorted(images.keys() | masks.keys())
            pairs[split] = [Pair(str(images.get(key) or masks[key]), images.get(key), masks.get(key)) for key in keys]
    table: Table = np.full(RAW, IGNORE, dtype=np.int64)
    table[list(CLASSES.values()) if kind == _KINDS[0] else range(len(CLASSES))] = np.arange(len(CLASSES))
    return examine_pairs(
        str(path),
        pairs,
        names=list(CLASSES),
        table=table,
        val_is_test=True,
        strict=strict,
        issues_path=issues_path,
        cache=cache,
    )


def _files(folder: Path, end: str) -> dict[str, Path]:
    """Files by city and name without their ends."""
    return {f"{file.parent.name}/{file.name.removesuffix(end)}": file for file in sorted(folder.glob(f"*/*{end}"))}
