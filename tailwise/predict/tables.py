"""A table of predictions as CSV, Parquet or JSON lines: one row at a time, and whole or not at all."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tailwise.data.cells import guarded
from tailwise.types import TailwiseError

Rows = Iterable[Mapping[str, Any]]
ROWS_AT_ONCE = 4096


def write(path: Path, columns: Mapping[str, type], rows: Rows) -> None:
    """Write ``rows``, of which each has a value of its type in every column: str, float, bool, list[str] or list[float].

    The ending says how. ``.csv``: UTF-8, quoted where needed; text that a spreadsheet would take for a formula gets a ``'`` in
    front, as OWASP advises, without which we read it ourselves (`tailwise.data.cells`); a list is a JSON array in its cell.
    ``.jsonl``: an object a line. ``.parquet``. In the latter two text stays as it is. Written beside ``path`` and moved there
    at the end. Raises `TailwiseError` where that fails.
    """
    with _whole(path) as temporary:
        writer(path)(temporary, columns, rows)


def writer(path: Path) -> Callable[[Path, Mapping[str, type], Rows], None]:
    """What writes files with the ending of ``path``; raises `TailwiseError` for another one."""
    writers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in writers:
        raise TailwiseError(f"{path}: --out must end in {', '.join(writers)}; name a file such as predictions.csv")
    return writers[path.suffix.lower()]


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TailwiseError(
            f"{path}: could not be written ({error.strerror or error}); free some space and repeat the command"
        ) from error


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return guarded(value)
    return json.dumps(value, ensure_ascii=False)  # numbers, true, false, lists: none starts like a formula


def _csv(path: Path, columns: Mapping[str, type], rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows([_cell(row[name]) for name in columns] for row in rows)


def _jsonl(path: Path, columns: Mapping[str, type], rows: Rows) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({name: row[name] for name in columns}, ensure_ascii=False) + "\n" for row in rows)


def _parquet(path: Path, columns: Mapping[str, type], rows: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), float: pa.float64(), bool: pa.bool_()}
    kinds |= {list[str]: pa.list_(pa.string()), list[float]: pa.list_(pa.float64())}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    with pq.ParquetWriter(path, schema) as out:
        parts = _parts(rows)
        for part in chain([next(parts, [])], parts):  # a file without rows has its columns, too
            out.write_table(pa.table({name: [row[name] for row in part] for name in columns}, schema=schema))


def _parts(rows: Rows) -> Iterator[Sequence[Mapping[str, Any]]]:
    iterator = iter(rows)
    while part := list(islice(iterator, ROWS_AT_ONCE)):
        yield part
