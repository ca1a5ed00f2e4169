"""Parquet files in the Hugging Face image layout: ``image: struct<bytes, path>``, ``label: int`` with ClassLabel names."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailwise.data.checks import Sample, examine
from tailwise.data.source import SPLIT_NAMES, Source
from tailwise.data.sources.labels import numbered
from tailwise.types import TailwiseError

FOLDED = 20
"""Times its own size that a file above 1 GiB may unpack to: encoded images cannot be compressed again."""

_DAMAGED = (OSError, ValueError, KeyError, TypeError, MemoryError, NotImplementedError, ArithmeticError)
_NAME = re.compile(r"(train|test|val|valid|validation)(?:-(\d+)-of-(\d+))?\.parquet")


def open_parquet(path: Path, *, strict: bool = False, issues_path: str | Path | None = None) -> Source:
    """One parquet file (train only), or a folder with ``train``, ``val`` or ``validation``, ``test`` files or shards.

    The image column is the first struct with a ``bytes`` field, the label column ``label`` or else the first
    ClassLabel. Without names, classes are called "0".."C-1". Raises `TailwiseError` for files that are no parquet, no
    such columns, labels that are missing, negative or out of range, missing shards, and what `examine` refuses.
    """
    files = files_by_split(path)
    names: tuple[str, ...] = ()
    samples: dict[str, list[Sample]] = {}
    for split, of_split in files.items():
        samples[split] = []
        for file in of_split:
            stated, rows = _read(file)
            if names and stated and names != stated:
                raise TailwiseError(f"{file}: its class names differ from those of the files before it; give all one list")
            names = names or stated
            samples[split] += rows
    every = [(one.path, split, label) for split, rows in samples.items() for one in rows if isinstance(label := one.label, int)]
    names = names or tuple(numbered(every))
    for where, _, label in every:
        if not 0 <= label < len(names):
            raise TailwiseError(f"{where}: label {label} is out of range; it must lie in 0..{len(names) - 1}")
    return examine(str(path), names, samples, strict=strict, issues_path=issues_path)


def files_by_split(folder: Path) -> dict[str, list[Path]]:
    """The parquet files in a folder, or the file itself, which is train; raises `TailwiseError` for missing files."""
    if folder.is_file():
        return {"train": [folder]}
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.parquet")):
        if match := _NAME.fullmatch(file.name):
            files.setdefault(SPLIT_NAMES[match[1]], []).append(file)
    for split, of_split in files.items():
        shards = {int(match[3]) for file in of_split if (match := _NAME.fullmatch(file.name)) and match[3]}
        if shards and shards != {len(of_split)}:
            raise TailwiseError(f"{folder}: {len(of_split)} files for {split}, but shards of {max(shards)}; complete them")
    if "train" not in files:
        there = ", ".join(sorted(file.name for file in folder.glob("*.parquet"))[:5])
        raise TailwiseError(f"{folder}: no train.parquet and no train-00000-of-0000N.parquet; found {there}")
    return files


def read_schema(file: Path) -> Any:
    """A file's schema; raises `TailwiseError` for a file that is no parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        meta = pq.read_metadata(file)
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
        size = sum(group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns))
        schema = meta.schema.to_arrow_schema()
    except (pa.ArrowException, *_DAMAGED) as error:
        raise _unreadable(file, error) from error
    had = file.stat().st_size
    if meta.num_rows > had or size > max(2**30, FOLDED * had):  # each image takes bytes of its own
        raise TailwiseError(f"{file}: {had:,} bytes that unpack to {meta.num_rows:,} rows of {size:,} bytes; give another copy")
    return schema


def read_columns(file: Path, columns: Sequence[str]) -> list[list[Any]]:
    """Columns of a file as lists of Python values; raises `TailwiseError` for a file that is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, columns=list(columns), partitioning=None)
        return [table.column(name).to_pylist() for name in columns]
    except (pa.ArrowException, *_DAMAGED) as error:
        raise _unreadable(file, error) from error


def byte_columns(schema: Any) -> list[str]:
    """The columns that hold files: structs with a field ``bytes`` of bytes."""
    import pyarrow as pa

    structs = [f for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return [f.name for f in structs if any(fits(f.type.field("bytes").type) for fits in kinds)]


def stated_info(schema: Any) -> dict[str, Any]:
    """What Hugging Face `datasets` writes about a data set into a schema; nothing when it did not write it."""
    try:
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return info if isinstance(info, dict) else {}


def _unreadable(file: Path, error: Exception) -> TailwiseError:
    reason = (str(error).splitlines() or ["damaged"])[0]
    return TailwiseError(f"{file}: cannot be read as parquet ({reason}); give another copy")


def _read(file: Path) -> tuple[tuple[str, ...], list[Sample]]:
    """The class names that one file states, if any, and its rows."""
    schema = read_schema(file)
    image, label = _columns(file, schema)
    labels, cells = read_columns(file, [label, image])
    if None in labels:
        raise TailwiseError(f"{file}#{labels.index(None)}: no label; fill it in or remove the row")
    given = _features(schema).get(label, {}).get("names")
    names = tuple(map(str, given)) if isinstance(given, list) else ()
    rows = enumerate(zip(labels, cells, strict=True))
    return names, [Sample(f"{file}#{row}", value, cell and cell["bytes"]) for row, (value, cell) in rows]


def _columns(file: Path, schema: Any) -> tuple[str, str]:
    """The names of the image column and of the label column."""
    import pyarrow as pa

    images = byte_columns(schema)
    features = _features(schema)
    labels = [name for name in schema.names if name == "label" or features.get(name, {}).get("_type") == "ClassLabel"]
    labels.sort(key=lambda name: name != "label")
    if not images or not labels:
        lacking = "label" if images else "image"
        raise TailwiseError(f"{file}: no {lacking} column; its columns are {', '.join(schema.names)}")
    if not pa.types.is_integer(schema.field(labels[0]).type):
        raise TailwiseError(f"{file}: column {labels[0]!r} holds {schema.field(labels[0]).type}; labels must be whole numbers")
    return images[0], labels[0]


def _features(schema: Any) -> dict[str, Any]:
    """The descriptions of columns that a schema states."""
    features = stated_info(schema).get("features")
    return {name: one for name, one in features.items() if isinstance(one, dict)} if isinstance(features, dict) else {}
