"""Lists of images: a ``.txt`` with ``path label`` per line, or a ``.csv`` with columns ``path,label[,split][,group]``."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tailwise.data.checks import Sample, examine
from tailwise.data.source import SPLIT_NAMES, Source
from tailwise.data.sources.labels import numbered
from tailwise.types import TailwiseError

GROUPS = ("group", "site", "sequence")
"""Columns of a .csv that say which images belong together; the first of them that is there counts."""

_WHOLE = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Row:
    """One line of a list, as it was written."""

    line: int
    path: str
    label: str
    split: str = "train"
    group: str | None = None


def open_listing(path: Path, *, strict: bool = False, issues_path: str | Path | None = None) -> Source:
    """A ``path label`` listing; all of it is train. A line is cut at its last space, so a path may hold spaces.

    Paths are relative to the listing's folder. Labels are whole numbers 0..C-1 without gaps, or names; never both.
    Raises `TailwiseError`, with the line's number, for a line without label and for such labels; and as `examine`.
    """
    return _open(path, read_listing(path), strict, issues_path)


def read_listing(path: Path) -> list[Row]:
    """The lines of a ``path label`` listing, as they were written; blank ones are passed over.

    Raises `TailwiseError` for a line without label and for a file that is no UTF-8 text.
    """
    rows = []
    for at, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        *before, label = line.strip().rsplit(maxsplit=1)
        if not before:
            raise TailwiseError(f"{path}, line {at}: no label after {label!r}; write 'path label'")
        rows.append(Row(at, before[0], label))
    return rows


def open_csv(path: Path, *, strict: bool = False, issues_path: str | Path | None = None) -> Source:
    """A CSV with the columns path and label, and, where wanted, split (train, val, test) and one of `GROUPS`.

    Other columns are unread. Paths and labels as in `open_listing`. Without a split column all of it is train.
    Images of one group are never
    torn apart when a part is held out. Raises `TailwiseError` for lacking columns, empty cells, unknown splits.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), skipinitialspace=True)
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        if lacking := [name for name in ("path", "label") if name not in columns]:
            there = ", ".join(columns) or "none"
            raise TailwiseError(f"{path}: no column {' and no '.join(lacking)}; its columns are {there}")
        reader.fieldnames = columns
        rows = [_row(f"{path}, line {reader.line_num}", reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise TailwiseError(f"{path}, line {reader.line_num}: cannot be read as CSV ({error})") from error
    return _open(path, rows, strict, issues_path)


def _row(where: str, line: int, cells: dict[str, str | None]) -> Row:
    grouping = next((name for name in GROUPS if name in cells), "group")
    given = {name: (cells[name] or "").strip() for name in ("path", "label", "split", grouping) if name in cells}
    for name, value in given.items():
        if not value:
            raise TailwiseError(f"{where}: {name} is empty; fill it in or remove the line")
    split = given.get("split", "train").lower()
    if split not in SPLIT_NAMES:
        raise TailwiseError(f"{where}: unknown split {split!r}; write train, val or test")
    return Row(line, given["path"], given["label"], SPLIT_NAMES[split], given.get(grouping))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TailwiseError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def _open(path: Path, rows: Sequence[Row], strict: bool, issues_path: str | Path | None) -> Source:
    if not any(row.split == "train" for row in rows):
        raise TailwiseError(f"{path}: no training images in it; write one line for each image")
    names, labels = _classes(path, rows)
    samples: dict[str, list[Sample]] = {split: [] for split in dict.fromkeys(["train", *(row.split for row in rows)])}
    for row, label in zip(rows, labels, strict=True):
        samples[row.split].append(Sample(row.path, label, path.parent / row.path, row.group))
    return examine(str(path), names, samples, strict=strict, issues_path=issues_path)


def _classes(path: Path, rows: Sequence[Row]) -> tuple[list[str], list[int]]:
    """Class names, and the class of each row."""
    whole = [_WHOLE.fullmatch(row.label) is not None for row in rows]
    if not any(whole):
        names = sorted({row.label for row in rows})
        number = {name: c for c, name in enumerate(names)}
        return names, [number[row.label] for row in rows]
    if not all(whole):
        row = rows[whole.index(False)]
        raise TailwiseError(f"{path}, line {row.line}: label {row.label!r} is not a number, but others are; use one kind")
    labels = [int(row.label) for row in rows]
    places = [(f"{path}, line {row.line}", row.split, label) for row, label in zip(rows, labels, strict=True)]
    return numbered(places), labels
