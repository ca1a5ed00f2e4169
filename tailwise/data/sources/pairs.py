"""A pair of folders: ``root/images/…/a.jpg`` with ``root/masks/…/a.png``, with or without splits."""

from pathlib import Path

from tailwise.data.pixel_checks import examine_pairs
from tailwise.data.pixel_looks import Pair
from tailwise.data.source import SPLIT_NAMES, Source
from tailwise.data.sources.folder import folders_in, images_in
from tailwise.types import TailwiseError

MASKS = ("masks", "annotations", "labels")
"""What the folder of masks may be called, beside one that is called images."""

_SPLITS = SPLIT_NAMES | {"training": "train"}


def is_pairs(path: Path) -> bool:
    """Whether a folder holds images with masks: ``images`` and one of `MASKS` lie in it, or in each of its split folders."""
    return _is_pair(path) or bool(_split_roots(path))


def open_pairs(
    path: Path,
    *,
    strict: bool = False,
    issues_path: str | Path | None = None,
    ignore: int | None = None,
    cache: Path | None = None,
) -> Source:
    """``root/images`` and ``root/masks`` (annotations, labels), a mask having its image's path but for the suffix.

    The folders in ``images`` are splits when all of them are called train (training), val (valid, validation) or test, else
    images are paired at any depth and all of them are train; or the splits come first, ``root/train/images``. Classes are
    called by the lines of ``root/classes.txt``, else by their numbers. The raw values 0, 1, 2, … are the classes, ``ignore``
    (else 255, or 65535 where there are more values) left out.
    Raises `TailwiseError` for a folder without images or masks, two files for one pair, splits without train, a split
    with images and no masks or the reverse, a ``classes.txt`` that is no text, and what `examine_pairs` refuses.
    """
    pairs = {split: pair_files(*folders) for split, folders in _parts(path).items()}
    return examine_pairs(
        str(path),
        pairs,
        names=_class_names(path / "classes.txt"),
        ignore=() if ignore is None else (ignore,),
        strict=strict,
        issues_path=issues_path,
        cache=cache,
        advice="a mask has the name of its image, as images/a.jpg and masks/a.png",
    )


def pair_files(images: Path, masks: Path) -> list[Pair]:
    """The images in one folder with the masks in another, by path without suffix; with what lacks its other half.

    Raises `TailwiseError` for a folder without such files and for two of them that differ in the suffix alone.
    """
    found = []
    for folder in (images, masks):
        by_name: dict[str, Path] = {}
        for file in images_in(folder):
            other = by_name.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
            if other != file:
                raise TailwiseError(f"{file}: beside {other.name}, two files for one pair; keep one")
        if not by_name:
            raise TailwiseError(f"{folder}: no images in it; expected files such as .png")
        found.append(by_name)
    return [
        Pair(str(found[0].get(key) or found[1][key]), found[0].get(key), found[1].get(key))
        for key in sorted(found[0].keys() | found[1].keys())
    ]


def _is_pair(path: Path) -> bool:
    return (path / "images").is_dir() and any((path / name).is_dir() for name in MASKS)


def _split_roots(path: Path) -> list[Path]:
    """The folders of a root whose splits come first; none of any other root."""
    roots = folders_in(path)
    return roots if all(root.name in _SPLITS and _is_pair(root) for root in roots) else []


def _masks(path: Path) -> Path:
    there = [path / name for name in MASKS if (path / name).is_dir()]
    if len(there) > 1:
        raise TailwiseError(f"{path}: folders {' and '.join(found.name for found in there)} beside images; keep the masks' one")
    return there[0]


def _parts(path: Path) -> dict[str, tuple[Path, Path]]:
    """The folder of images and the folder of masks of each split."""
    if not _is_pair(path):
        roots = _by_split(_split_roots(path), path)
        return {split: (root / "images", _masks(root)) for split, root in roots.items()}
    images, masks = path / "images", _masks(path)
    inside = folders_in(images)
    if not inside or not all(folder.name in _SPLITS for folder in inside):
        return {"train": (images, masks)}
    of_images = _by_split(inside, images)
    of_masks = _by_split([folder for folder in folders_in(masks) if folder.name in _SPLITS], masks)
    for split in of_images.keys() ^ of_masks.keys():
        there, lacking = (of_images, masks) if split in of_images else (of_masks, images)
        raise TailwiseError(
            f"{there[split]}: nothing for it in {lacking}; add a folder {there[split].name}, or remove this one"
        )
    return {split: (of_images[split], of_masks[split]) for split in of_images}


def _by_split(folders: list[Path], path: Path) -> dict[str, Path]:
    splits = {_SPLITS[folder.name]: folder for folder in folders}
    if len(splits) < len(folders):
        raise TailwiseError(f"{path}: two folders for one split among {', '.join(folder.name for folder in folders)}; keep one")
    if "train" not in splits:
        raise TailwiseError(f"{path}: no train folder beside {', '.join(folder.name for folder in folders)}; add one")
    return splits


def _class_names(file: Path) -> list[str]:
    if not file.exists():
        return []
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise TailwiseError(f"{file}: cannot be read as UTF-8 text ({error})") from error
    if not names:
        raise TailwiseError(f"{file}: no names in it; write one class a line, or remove it")
    return names
