"""A folder of class folders: ``root/class/photo.jpg``, or ``root/{train,val,test}/class/photo.jpg``."""

from collections.abc import Sequence
from pathlib import Path

from tailwise.data.checks import Sample, examine
from tailwise.data.source import SPLIT_NAMES, Source
from tailwise.data.split import bursts
from tailwise.types import TailwiseError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"})


def open_folder(path: Path, *, strict: bool = False, issues_path: str | Path | None = None) -> Source:
    """Classes are the folders in alphabetical order; images lie in them at any depth, hidden files are passed over.

    Folders below the class folders are groups, such as bursts: see `tailwise.data.split.bursts`.

    The folders are splits when all of them are called train, val (valid, validation) or test, else they are classes;
    so a class may be called "train". It may be called "images" too, but not beside one called "masks", "annotations" or
    "labels": that is a pixel task, see `tailwise.data.sources.pairs`. Raises `TailwiseError` for a folder without class
    folders or images, a training class without images, splits without train, and what `examine` refuses.
    """
    folders = folders_in(path)
    if not folders:
        raise TailwiseError(f"{path}: no class folders in it; expected {path}/CLASS/IMAGE, or a parquet file")
    splits = {"train": path}
    if all(folder.name in SPLIT_NAMES for folder in folders):
        splits = {SPLIT_NAMES[folder.name]: folder for folder in folders}
        if "train" not in splits:
            raise TailwiseError(f"{path}: no train folder beside {', '.join(folder.name for folder in folders)}; add one")
        if len(splits) < len(folders):
            raise TailwiseError(f"{path}: two folders for val; keep one of val, valid, validation")
    images = {split: {f.name: images_in(f) for f in folders_in(root)} for split, root in splits.items()}
    if not any(images["train"].values()):
        raise TailwiseError(f"{path}: no images in the class folders of {splits['train']}; expected files such as .jpg or .png")
    for name, found in images["train"].items():
        if not found:
            raise TailwiseError(f"{splits['train'] / name}: a class folder without images; add some or remove the folder")
    names = sorted({name for of_split in images.values() for name, found in of_split.items() if found})
    samples, number = {}, {name: c for c, name in enumerate(names)}
    for split, of_split in images.items():
        places = [(splits[split] / name, file) for name in names for file in of_split.get(name, ())]
        groups: Sequence[str | None] = bursts(places) or [None] * len(places)
        samples[split] = [
            Sample(str(file), number[root.name], file, group) for (root, file), group in zip(places, groups, strict=True)
        ]
    return examine(str(path), names, samples, strict=strict, issues_path=issues_path)


def folders_in(path: Path) -> list[Path]:
    """The folders in a folder, hidden ones passed over."""
    return sorted(found for found in path.iterdir() if found.is_dir() and not found.name.startswith((".", "__")))


def images_in(folder: Path) -> list[Path]:
    """Files that are called images, at any depth."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
