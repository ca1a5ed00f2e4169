"""``tailwise doctor``: what it prints and writes of a run made by hand."""

import json
from importlib import import_module
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


def test_damaged_files_of_a_run_are_one_line(run: Path, capsys: Capture) -> None:
    (run / "findings.json").write_text('{"slow convergence": 5}')
    assert main(["doctor", str(run)]) == 0
    (run / "metrics.jsonl").write_text('{"step": 1, "loss_epoch": "abc", "epoch": 0}\n')
    assert f"{run / 'metrics.jsonl'}: damaged (line 1: " in refused(capsys, "doctor", str(run))
    (run / "metrics.jsonl").unlink()
    (run / "recipe.yaml").write_text("epochs: 10\nx: [")
    assert f"{run / 'recipe.yaml'}: not readable YAML" in refused(capsys, "doctor", str(run))
    (run / "recipe.yaml").write_text("x: 1\n")
    assert f"{run / 'recipe.yaml'}: damaged (no number of epochs); " in refused(capsys, "doctor", str(run))


def test_a_file_of_the_user_that_cannot_be_written_is_no_file_of_a_run(
    run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert main(["doctor", str(run), "--json", str(tmp_path / "file" / "found.json")]) == 2
    assert capsys.readouterr().err.endswith("choose another --json\n")
    monkeypatch.setattr(import_module("tailwise.train.study"), "write_study", lambda *_: {})  # a function has that name too
    monkeypatch.setattr("tailwise.report.geometry.text", lambda _: "")
    assert main(["study", str(run), "--out", str(tmp_path / "file" / "found.json")]) == 2
    assert capsys.readouterr().err.endswith("choose another --out\n")


def test_one_run_under_two_paths_is_studied_once(run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    for other in ("./run", "run/../run", str(run)):
        assert "a run is named twice" in refused(capsys, "study", "run", other)


def test_what_is_no_run_is_refused(run: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "not a run of tailwise" in refused(capsys, "doctor", str(tmp_path))
    assert "is a folder; name a file" in refused(capsys, "doctor", str(run), "--json", str(tmp_path))
