"""ADE20K's scene parsing benchmark (Zhou et al., CVPR 2017): 150 classes, as ``ADEChallengeData2016.zip`` unpacks."""

import re
from pathlib import Path

from tailwise.data.pixel_checks import examine_pairs
from tailwise.data.source import Source
from tailwise.data.sources.pairs import pair_files
from tailwise.types import TailwiseError

CLASSES = 150

_ROW = re.compile(r"\s*(\d+)\s+[\d.]+\s+\d+\s+\d+\s+(?:\d+\s+)?(\S.*)")  # Idx, Ratio, Train, Val, perhaps Stuff, Name


def is_ade20k(path: Path) -> bool:
    """Whether ``images/training`` and ``annotations/training`` lie in a folder, and no ``classes.txt`` that says otherwise."""
    both = all((path / kind / "training").is_dir() for kind in ("images", "annotations"))
    return both and not (path / "classes.txt").exists()


def open_ade20k(
    path: Path,
    *,
    strict: bool = False,
    issues_path: str | Path | None = None,
    ignore: int | None = None,
    cache: Path | None = None,
) -> Source:
    """Splits train (20,210 images) and test: the 2,000 of ``validation``, which is what every paper reports.

    In the masks 0 is no class and ignored, so class = raw − 1. Names are the first ones in ``objectInfo150.txt``, where it
    lies in the folder, else "0".."149". Parts of the data set will do: classes that do not occur have count 0.
    Raises `TailwiseError` for an ``objectInfo150.txt`` of other than 150 classes, for ``ignore``, and as `pair_files`
    and `examine_pairs`.
    """
    if ignore is not None:
        raise TailwiseError(f"{path}: ADE20K ignores 0, so ignore={ignore} means nothing; leave it out")
    splits = {"train": "training", "test": "validation"}
    pairs = {
        split: pair_files(path / "images" / folder, path / "annotations" / folder)
        for split, folder in splits.items()
        if (path / "images" / folder).is_dir()
    }
    names = _names(path / "objectInfo150.txt")
    return examine_pairs(str(path), pairs, names=names, ignore=(0,), strict=strict, issues_path=issues_path, cache=cache)


def _names(file: Path) -> list[str]:
    """The first synonym of each class, or all of them where another class begins with the same."""
    if not file.exists():
        return [str(c) for c in range(CLASSES)]
    try:
        rows = [match for line in file.read_text(encoding="utf-8-sig").splitlines() if (match := _ROW.fullmatch(line))]
    except (OSError, UnicodeDecodeError) as error:
        raise TailwiseError(f"{file}: cannot be read as UTF-8 text ({error})") from error
    if [int(row[1]) for row in rows] != list(range(1, CLASSES + 1)):
        raise TailwiseError(f"{file}: expected lines for the classes 1..{CLASSES}, got {len(rows)}; get it again or remove it")
    full = [row[2].strip() for row in rows]
    first = [re.split("[,;]", name)[0].strip() for name in full]
    return [short if first.count(short) == 1 else name for short, name in zip(first, full, strict=True)]
