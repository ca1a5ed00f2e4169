"""``tailwise doctor``: what it prints and writes of a run made by hand."""

import json
from pathlib import Path

import pytest
from commands import Capture, refused

from tailwise.cli import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An unfinished run whose queue does not fill."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("epochs: 10\n")
    rows = [{"step": e, "epoch": e, "vital_queue_filled": 0.01 * e, "vital_queue_stale": 0.0} for e in range(8)]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_it_prints_what_is_wrong_and_what_was_not_measured(run: Path, capsys: Capture) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert main(["doctor", str(run)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{run}: 1 finding, 1 of 7 known failures looked for\n\nwarning: dead queue\n")
    assert "not measured: tail collapse, head overfitting, " in printed
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_several_runs_are_written_as_json(run: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "recipe.yaml").write_text("epochs: 10\n")
    assert main(["doctor", str(run), str(other), "--json", str(tmp_path / "found.json")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {tmp_path / 'found.json'}"
    found = json.loads((tmp_path / "found.json").read_text())
    assert [check["name"] for check in found[str(run)]] == ["dead queue"]
    assert found[str(other)] == []


def test_what_is_no_run_is_refused(run: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "not a run of tailwise" in refused(capsys, "doctor", str(tmp_path))
    assert "is a folder; name a file" in refused(capsys, "doctor", str(run), "--json", str(tmp_path))
