"""Lists of images: a ``.txt`` with ``path label`` per line, or a ``.csv`` with columns ``path,label[,split][,group]``.

The column ``labels`` in the place of ``label`` is for images with several labels or none.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tailwise.data.cells import unguarded
from tailwise.data.checks import Sample, examine
from tailwise.data.source import SPLIT_NAMES, Source
from tailwise.data.sources.labels import numbered
from tailwise.types import TailwiseError

GROUPS = ("group", "site", "sequence")
"""Columns of a .csv that say which images belong together; the first of them that is there counts."""

BETWEEN = ";"
"""Stands between the labels of an image that has several."""

_WHOLE = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Row:
    """One line of a list, as it was written."""

    line: int
    path: str
    labels: tuple[str, ...]
    split: str = "train"
    group: str | None = None


def open_listing(path: Path, *, strict: bool = False, issues_path: str | Path | None = None) -> Source:
    """A ``path label`` listing; all of it is train. A line is cut at its last space, so a path may hold spaces.

    Paths are relative to the listing's folder. Labels are whole numbers 0..C-1 without gaps, or names; never both.
    Raises `TailwiseError`, with the line's number, for a line without label and for such labels; and as `examine`.
    """
    return _open(path, read_listing(path), strict, issues_path, several=False)


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
        rows.append(Row(at, before[0], (label,)))
    return rows


def open_csv(path: Path, *, strict: bool = False, issues_path: str | Path | None = None) -> Source:
    """A CSV with the columns path and label, and, where wanted, split (train, val, test) and one of `GROUPS`.

    Other columns are unread. Cells that begin like ``'=`` are read without the ``'`` (`tailwise.data.cells`). Paths and labels
    as in `open_listing`. Without a split column all of it is train. Images of one group are never torn apart when a part is
    held out. With a column ``labels`` in the place of ``label`` an image has any number of labels, `BETWEEN` them a semicolon,
    and the splits are `tailwise.data.multilabel.MultiLabelSplit`.
    Raises `TailwiseError` for lacking columns, empty cells (but no labels are none), unknown splits.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), skipinitialspace=True)
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        several = "labels" in columns
        lacking = [] if "path" in columns else ["path"]
        if lacking := lacking + ([] if several or "label" in columns else ["label"]):
            there = ", ".join(columns) or "none"
            raise TailwiseError(f"{path}: no column {' and no '.join(lacking)}; its columns are {there}")
        if several and "label" in columns:
            raise TailwiseError(f"{path}: has columns label and labels; keep label for one class of an image, labels for any")
        reader.fieldnames = columns
        rows = [_row(f"{path}, line {reader.line_num}", reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise TailwiseError(f"{path}, line {reader.line_num}: cannot be read as CSV ({error})") from error
    return _open(path, rows, strict, issues_path, several)


def lists_several(path: Path) -> bool:
    """Whether a file is a list of images with any number of labels; False for all that cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return path.suffix.lower() == ".csv" and "labels" in [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, ValueError, csv.Error):
        return False


def _row(where: str, line: int, cells: dict[str, str | None]) -> Row:
    if None in cells:
        raise TailwiseError(f"{where}: more cells than columns; put a cell that holds a comma into quotes")
    grouping = next((name for name in GROUPS if name in cells), "group")
    given = {name: unguarded((cells[name] or "").strip()) for name in ("path", "label", "split", grouping) if name in cells}
    for name, value in given.items():
        if not value:
            raise TailwiseError(f"{where}: {name} is empty; fill it in or remove the line")
    labels = (given["label"],) if "label" in given else _several(cells["labels"] or "")
    split = given.get("split", "train").lower()
    if split not in SPLIT_NAMES:
        raise TailwiseError(f"{where}: unknown split {split!r}; write train, val or test")
    return Row(line, given["path"], labels, SPLIT_NAMES[split], given.get(grouping))


def _several(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in unguarded(cell).split(BETWEEN) if (name := part.strip())))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TailwiseError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def _open(path: Path, rows: Sequence[Row], strict: bool, issues_path: str | Path | None, several: bool) -> Source:
    if not any(row.split == "train" for row in rows):
        raise TailwiseError(f"{path}: no training images in it; write one line for each image")
    names, number = _classes(path, rows, several)
    samples: dict[str, list[Sample]] = {split: [] for split in dict.fromkeys(["train", *(row.split for row in rows)])}
    for row in rows:
        classes = frozenset(number[label] for label in row.labels)
        samples[row.split].append(Sample(row.path, classes if several else min(classes), path.parent / row.path, row.group))
    return examine(str(path), names, samples, strict=strict, issues_path=issues_path)


def _other_separator(given: Sequence[tuple[Row, str]]) -> tuple[Row, str] | None:
    """A label with a comma or a bar in it, in a list where no image has two labels: then it stands between them."""
    if len({row.line for row, _ in given}) < len(given):
        return None
    return next(((row, label) for row, label in given if "," in label or "|" in label), None)


def _classes(path: Path, rows: Sequence[Row], several: bool) -> tuple[list[str], dict[str, int]]:
    """Class names, and the class of each label as it is written."""
    given = [(row, label) for row in rows for label in row.labels]
    if not any(row.split == "train" for row, _ in given):
        raise TailwiseError(f"{path}: no training image has a label; fill some in")
    if several and (odd := _other_separator(given)):
        raise TailwiseError(f"{path}, line {odd[0].line}: {odd[1]!r} looks like several labels; put {BETWEEN} between labels")
    whole = [_WHOLE.fullmatch(label) is not None for _, label in given]
    if not any(whole):
        names = sorted({label for _, label in given})
        return names, {name: c for c, name in enumerate(names)}
    if not all(whole):
        row, label = given[whole.index(False)]
        raise TailwiseError(f"{path}, line {row.line}: label {label!r} is not a number, but others are; use one kind")
    return numbered([(f"{path}, line {row.line}", row.split, int(label)) for row, label in given]), {
        label: int(label) for _, label in given
    }
