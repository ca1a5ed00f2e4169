"""Which images are to be classified: files, folders of them, and CSV listings, each image once."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tailwise.data.cells import unguarded
from tailwise.data.sources.folder import SUFFIXES
from tailwise.types import TailwiseError

FOLDER = "folder"
"""Groups of images that are not listed: the folders that they lie in."""


class Input(NamedTuple):
    """One image; nobody has looked whether it is there."""

    path: Path
    name: str  # what it is called in the output
    group: str  # the folder that it lies in, or what the listing says


def inputs(paths: Sequence[str | Path], column: str | None = None) -> list[Input]:
    """The images that ``paths`` name, in their order; one that is named twice comes once, where it was named first.

    Of a folder all images in it at any depth, in the order of their paths, hidden ones passed over. A ``.csv`` has a
    column ``path``, relative to the file's own folder; with ``column`` also one of that name, which groups its images, unless
    that is "folder". Raises `TailwiseError` for a path that is not there, a listing that cannot be used, and for no image.
    """
    found: dict[str, Input] = {}
    for given in map(Path, paths):
        for one in _inside(given, column):
            found.setdefault(os.path.abspath(one.path), one)
    if not found:
        raise TailwiseError(f"predict: no image found; files must end in {', '.join(sorted(SUFFIXES))}")
    return list(found.values())


def _inside(given: Path, column: str | None) -> Iterator[Input]:
    if given.is_dir():
        for file in sorted(given.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(given).parts)
            if file.suffix.lower() in SUFFIXES and not hidden and file.is_file():
                yield _plain(file)
    elif not given.is_file():
        raise TailwiseError(f"{given}: no such file or folder; give images, folders of them, or a .csv that lists them")
    elif given.suffix.lower() == ".csv":
        yield from _listed(given, column)
    else:
        yield _plain(given)


def _plain(file: Path) -> Input:
    return Input(file, printable(str(file)), printable(str(file.parent)))


def _listed(listing: Path, column: str | None) -> Iterator[Input]:
    wanted = ["path"] if column in (None, FOLDER) else ["path", str(column)]
    try:
        with listing.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            reader.fieldnames = columns = [name.strip() for name in reader.fieldnames or ()]
            if lacking := [name for name in wanted if name not in columns]:
                there = ", ".join(columns) or "none"
                raise TailwiseError(f"{listing}: no column {' and no '.join(lacking)}; its columns are {there}")
            for cells in reader:
                given = [unguarded((cells[name] or "").strip()) for name in wanted]
                if not all(given):
                    empty = wanted[given.index("")]
                    raise TailwiseError(f"{listing}, line {reader.line_num}: {empty} is empty; fill it in or remove the line")
                path = listing.parent / given[0]
                yield Input(path, printable(given[0]), printable(given[1] if len(given) > 1 else str(path.parent)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TailwiseError(f"{listing}: cannot be read as CSV in UTF-8 ({error})") from error


def printable(text: str) -> str:
    r"""Text that every file format can hold: bytes of a name that are no UTF-8 are written as ``\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
