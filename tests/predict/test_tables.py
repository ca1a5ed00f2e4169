"""Three formats with one content; text that would break a table or a spreadsheet; a file is there whole or not at all."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tailwise.predict import tables
from tailwise.types import TailwiseError

COLUMNS = {"path": str, "probability": float, "set": list[str], "shares": list[float], "abstain": bool}
ROWS: list[dict[str, Any]] = [
    {"path": "plain.jpg", "probability": 0.25, "set": ["cat"], "shares": [0.5, 1e-06], "abstain": False},
    {"path": 'a, "b"\nc.jpg', "probability": 1e-06, "set": ["=cat", 'd"o,g\n'], "shares": [1.0], "abstain": True},
    {"path": "grün/ï.jpg", "probability": 1.0, "set": [], "shares": [], "abstain": False},
]


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    other = {"probability", "set", "shares", "abstain", "labels", "probabilities"}
    return [row | {name: json.loads(row[name]) for name in other & row.keys()} for row in rows]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("rows", [ROWS, []], ids=["rows", "none"])
def test_every_format_holds_the_same(tmp_path: Path, suffix: str, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("of the last time")
    tables.write(path, COLUMNS, iter(rows))
    assert read(path) == rows
    assert list(tmp_path.iterdir()) == [path]


def test_many_rows_keep_their_order_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 3)
    tables.write(tmp_path / "out.parquet", {"n": float}, ({"n": float(i)} for i in range(10)))
    assert [row["n"] for row in pq.read_table(tmp_path / "out.parquet").to_pylist()] == list(range(10))


@pytest.mark.parametrize("first", list("=+-@\t\r\n＝＋－＠"))
def test_a_spreadsheet_gets_no_formula(tmp_path: Path, first: str) -> None:
    text = f"{first}cmd|' /C calc'!A0"
    for suffix, expected in ((".csv", f"'{text}"), (".jsonl", text), (".parquet", text)):
        path = tmp_path / f"out{suffix}"
        tables.write(path, COLUMNS, [ROWS[0] | {"path": text, "set": [text]}])
        (row,) = read(path)
        assert row["path"] == expected
        assert row["set"] == [text]
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        assert all(not cell.startswith(tuple("=+-@\t\r\n＝＋－＠")) for row in csv.reader(file) for cell in row)


def test_a_failure_leaves_the_older_file(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield ROWS[0]
        raise OSError(28, "No space left on device")

    path = tmp_path / "out.csv"
    path.write_text("older")
    with pytest.raises(TailwiseError, match=r"could not be written .No space left on device"):
        tables.write(path, COLUMNS, broken())
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=r"--out must end in \.csv, \.jsonl, \.parquet"):
        tables.write(tmp_path / "out.xlsx", COLUMNS, ROWS)
