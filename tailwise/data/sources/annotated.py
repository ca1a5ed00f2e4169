"""Parquet files for pixel tasks: ``image: struct<bytes, path>`` with ``annotation: struct<bytes, path>``, its mask."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from tailwise.data.pixel_checks import examine_pairs
from tailwise.data.pixel_looks import Pair
from tailwise.data.source import Source
from tailwise.data.sources.parquet import byte_columns, files_by_split, read_columns, read_schema, stated_info
from tailwise.types import TailwiseError

MASK = "annotation"
"""The column of masks."""

_CLASSES = re.compile(r"\bclasses\s+0\s*(?:\.{2,}|…|-|–|to)\s*(\d+)\s*:([^;]*)", re.IGNORECASE)
_IGNORED = re.compile(r"(\d+)\s*=[^;=]*\(\s*ignored?\s*\)", re.IGNORECASE)


class Stated(NamedTuple):
    """What a schema says about the values in masks."""

    names: tuple[str, ...] = ()
    ignore: tuple[int, ...] = ()


def is_annotated(path: Path) -> bool:
    """Whether a parquet file, or the first training file of a folder, has masks; raises as `files_by_split`, `read_schema`."""
    return MASK in byte_columns(read_schema(files_by_split(path)["train"][0]))


def open_annotated(
    path: Path,
    *,
    strict: bool = False,
    issues_path: str | Path | None = None,
    ignore: int | None = None,
    cache: Path | None = None,
) -> Source:
    """One parquet file (train only), or a folder of them as `tailwise.data.sources.parquet.open_parquet` reads it.

    The image column is the first other struct with a ``bytes`` field. Names and the raw value to ignore come from the
    ``description`` in the schema's Hugging Face metadata, where it says "classes 0..K: A, B, …; N = … (ignore)"; else they
    follow from the values (`examine_pairs`). ``ignore`` is said by the user, and goes before what is stated.
    Raises `TailwiseError` for files that are no parquet, lack a column or shards, for a description that contradicts itself,
    another file's or ``ignore``, and for what `examine_pairs` refuses.
    """
    pairs: dict[str, list[Pair]] = {}
    stated = Stated()
    for split, files in files_by_split(path).items():
        pairs[split] = []
        for file in files:
            schema = read_schema(file)
            of_file = stated_classes(file, schema)
            if stated.names and of_file.names and of_file != stated:
                raise TailwiseError(f"{file}: its classes differ from those of the files before it; give all one list")
            stated = stated if stated.names else of_file
            pairs[split] += _read(file, schema)
    ignored = stated.ignore if ignore is None else (ignore,)
    if stated.names and (inside := [value for value in ignored if value < len(stated.names)]):
        raise TailwiseError(
            f"{path}: {inside[0]} is to be ignored, but is class {stated.names[inside[0]]!r}; say one or the other"
        )
    return examine_pairs(
        str(path), pairs, names=stated.names, ignore=ignored, strict=strict, issues_path=issues_path, cache=cache
    )


def stated_classes(file: Path, schema: Any) -> Stated:
    """The classes and the values to ignore in a schema's description; none where it does not speak of them.

    Raises `TailwiseError` where it names more or fewer classes than it counts.
    """
    description = str(stated_info(schema).get("description") or "")
    match = _CLASSES.search(description)
    if match is None:
        return Stated()
    names = tuple(name.strip() for name in match[2].rstrip(" .\n").split(","))
    if len(names) != int(match[1]) + 1 or not all(names):
        raise TailwiseError(f"{file}: its description names {len(names)} classes for 0..{match[1]}; correct it")
    return Stated(names, tuple(int(value) for value in _IGNORED.findall(description)))


def _read(file: Path, schema: Any) -> list[Pair]:
    images = [name for name in byte_columns(schema) if name != MASK]
    if not images or MASK not in byte_columns(schema):
        lacking = MASK if images else "image"
        raise TailwiseError(f"{file}: no {lacking} column; its columns are {', '.join(schema.names)}")
    rows = enumerate(zip(*read_columns(file, [images[0], MASK]), strict=True))
    return [Pair(f"{file}#{row}", image and image["bytes"], mask and mask["bytes"]) for row, (image, mask) in rows]
