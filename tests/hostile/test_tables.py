"""Tables of anybody, read and written: odd parquet, damaged runs, cells that a spreadsheet would run."""

import csv
import json
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from commands import Capture, picture, refused

from tailwise import conformal
from tailwise.data import open_source
from tailwise.data.cells import guarded, unguarded
from tailwise.data.checks import write_issues
from tailwise.data.source import Issue
from tailwise.predict.inputs import inputs
from tailwise.predict.pixels import _files
from tailwise.predict.targets import fixed
from tailwise.types import TailwiseError


@pytest.mark.parametrize(
    "column",
    [
        {"bytes": pa.array([1, 2, 3, 4])},
        {"bytes": pa.array(["a", "b", "c", "d"])},
        {"bytes": pa.array([None] * 4, pa.binary()), "path": pa.array(["/etc/passwd", "../../etc/passwd", "a", ""])},
        {"bytes": pa.array([b"", b"\x00", b"not an image", b"<svg/>"])},
    ],
    ids=["numbers", "text", "paths", "rubbish"],
)
def test_a_parquet_of_other_things_is_refused(column: dict[str, pa.Array], tmp_path: Path) -> None:
    images = pa.StructArray.from_arrays(list(column.values()), list(column))
    pq.write_table(pa.table({"image": images, "label": pa.array([0, 1, 0, 1])}), tmp_path / "d.parquet")
    with pytest.raises(TailwiseError, match=r"^[^\n]+$") as caught:
        open_source(tmp_path / "d.parquet")
    assert "root:" not in str(caught.value)


@pytest.mark.parametrize("names", [5, [None, {}], {"a": 1}, "ab", ["a", "a"], ["a", " "]], ids=str)
def test_odd_names_in_a_parquet_are_one_line(names: object, tmp_path: Path) -> None:
    cells = [{"bytes": picture(tmp_path / f"{i}.png", i).read_bytes()} for i in range(4)]
    info = {"info": {"features": {"label": {"_type": "ClassLabel", "names": names}, "image": 3}}}
    table = pa.table({"image": cells, "label": [0, 1, 0, 1]}).replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, tmp_path / "d.parquet")
    with suppress(TailwiseError):  # which is of one line; any other error fails
        assert len(open_source(tmp_path / "d.parquet").names) == 2


def test_a_parquet_with_more_rows_than_bytes_is_refused(tmp_path: Path) -> None:
    n = 300_000
    images = pa.array([{"bytes": b"x"}] * n)
    pq.write_table(pa.table({"image": images, "label": pa.array([0] * n)}), tmp_path / "d.parquet")
    with pytest.raises(TailwiseError, match=r"that unpack to 300,000 rows"):
        open_source(tmp_path / "d.parquet")


def test_what_was_held_out_is_of_the_runs_classes(tmp_path: Path) -> None:
    for labels in (torch.tensor([0, 1, 2]), torch.tensor([0, 1, -1]), torch.zeros(0, dtype=torch.int64)):
        conformal.write(conformal.HeldOut(labels, labels.clamp(0, 1), labels.double(), labels.double()), tmp_path)
        with pytest.raises(TailwiseError, match="cannot be used"):
            conformal.read(tmp_path, 2)


def test_links_in_a_circle_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "around").symlink_to(tmp_path, target_is_directory=True)
    own = picture(tmp_path / "a.png", 1)
    assert [file for _, file in _files([tmp_path], tmp_path / "out")] == [own]
    assert [one.path for one in inputs([tmp_path])] == [own]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", b"\xff\xfe"),
        ("result.json", b"[" * 100_000),
        ("result.json", b"[]"),
        ("result.json", b'{"recipe": 1, "seed": [], "worst": 5, "balanced": {}}'),
        ("result.json", b'{"recipe": "a", "seed": 0, "worst": null, "balanced": 0.5, "per_class": 7}'),
        ("recipe.yaml", b"a: !!python/object/apply:os.system [touch ran]"),
    ],
    ids=range(6),
)
def test_a_damaged_run_is_shown_as_one_line(name: str, content: bytes, tmp_path: Path, capsys: Capture) -> None:
    from report.runs import COUNTS, judged

    result = json.dumps(judged(COUNTS)[0]).encode()
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        for file, valid in (("recipe.yaml", b"needs: {}\nseed: 0\n"), ("result.json", result)):
            (tmp_path / run / file).write_bytes(valid if file != name else content)
    refused(capsys, "report", str(tmp_path / "one"), str(tmp_path / "two"))


FORMULAS = ["=HYPERLINK(1)", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", " =1", "'=1", "''=1", "＝1", "\ufeff=1"]


@pytest.mark.parametrize("text", [*FORMULAS, "", "'", "'a", "a=1", "1", "plain.jpg", "'\ta"])
def test_a_guarded_cell_is_read_back(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    assert (cell != text) == (text in FORMULAS or text == "'\ta")
    assert not cell.lstrip(" \ufeff").startswith(tuple("=+-@\t\r\n＝"))


def test_formulas_in_our_tables_and_back(tmp_path: Path) -> None:
    write_issues([Issue("=cmd.png", "train", "@x"), Issue("bad\udcff.png", "train", "-1")], tmp_path / "issues.csv")
    with (tmp_path / "issues.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert rows == [["'=cmd.png", "train", "'@x"], [r"bad\udcff.png", "train", "'-1"]]
    assert inputs([tmp_path / "issues.csv"])[0].name == "=cmd.png"
    names = ("=a", "'=a", "b")
    prior = [guarded(name) for name in names]
    (tmp_path / "p.csv").write_text("class,share\n" + "\n".join(f"{name},{i + 1}" for i, name in enumerate(prior)))
    assert fixed(str(tmp_path / "p.csv"), names, torch.ones(3)).shares[""].tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6])
