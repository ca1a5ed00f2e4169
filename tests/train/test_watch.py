"""The doctor beside real runs: what it finds while they train, what it leaves alone, and how it goes on after a resume."""

import json
from pathlib import Path
from typing import Any

import pytest
from train.jobs import digits, interrupt_in

from tailwise.train import resume
from tailwise.train.diagnosis import diagnosis, findings
from tailwise.train.run import Run

SICK: dict[str, Any] = {
    "objective": "InfoNCE",
    "objective.queue_size": 3000,
    "optim.lr": 1e-7,
    "epochs": 6,
    "data.largest": 30,
    "engine.check_every": 6,
}
"""A queue that six epochs cannot fill, and a learning rate that learns nothing."""


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return digits(tmp_path_factory.mktemp("runs") / "sick", **SICK)


def test_what_a_run_provokes_is_found_while_it_trains_and_by_its_judge(sick: Run) -> None:
    early = findings(sick)
    assert {name: told["epoch"] for name, told in early.items()} == {"dead queue": 5, "slow convergence": 5}
    assert "too few below 50 %" in early["dead queue"]["measured"]
    checks = {check["name"]: check for check in sick.result["doctor"]}
    assert checks["dead queue"]["severity"] == checks["slow convergence"]["severity"] == "warning"
    assert checks["dead queue"]["epoch"] == 5
    assert checks["leaking split"]["severity"] == checks["head overfitting"]["severity"] == "none"
    assert "temperature runaway" not in checks  # nothing learns one
    rows = [row for row in sick.metrics() if "vital_queue_filled" in row]
    filled = [row["vital_queue_filled"] for row in rows]
    assert len(filled) == 6
    assert filled == sorted(filled)
    assert filled[-1] == pytest.approx(6 * sum(sick.manifest["data"]["train_counts"]) / 3000, rel=0.2)
    assert all(row["vital_lr"] >= 0 for row in rows)
    looks = [row for row in sick.metrics() if "val_balanced" in row]
    assert {"val_medium", "val_few"} <= looks[0].keys()


def test_a_sound_run_has_no_finding(done: Run) -> None:
    assert not (done.path / "findings.json").exists()
    checks = done.result["doctor"]
    assert {"tail collapse", "head overfitting", "prior applied twice", "leaking split"} <= {check["name"] for check in checks}
    assert done.result["carried_prior"] == pytest.approx(1, abs=1e-4)
    assert sum(row["predicted"] for row in done.result["per_class"]) == done.result["n_test"]


def test_a_finding_is_one_line_and_is_not_said_again_after_a_resume(
    sick: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in(patch, 5, RuntimeError)
        with pytest.raises(RuntimeError):
            digits(tmp_path / "cut", **SICK)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("doctor, epoch ")]
    assert len(said) == 2
    assert said[0].startswith("doctor, epoch 5: dead queue: queue: ")
    resume(tmp_path / "cut")
    assert "doctor, epoch" not in capsys.readouterr().err
    cut = Run(tmp_path / "cut")
    assert findings(cut) == findings(sick)
    assert cut.result["doctor"] == sick.result["doctor"]
    vitals = [{k: v for k, v in row.items() if k.startswith("vital_")} for row in sick.metrics()]
    assert [{k: v for k, v in row.items() if k.startswith("vital_")} for row in cut.metrics()] == vitals


def test_a_run_is_examined_again_from_its_files(sick: Run, tmp_path: Path) -> None:
    assert diagnosis(sick) == sick.result["doctor"]
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    for name in ("recipe.yaml", "metrics.jsonl"):
        (unfinished / name).write_bytes((sick.path / name).read_bytes())
    checks = {check["name"]: check for check in diagnosis(Run(unfinished))}
    assert checks["dead queue"]["severity"] == "warning"
    assert checks["dead queue"]["epoch"] is None  # nobody told while it trained
    assert "leaking split" not in checks  # the judge has not looked


@pytest.mark.parametrize("damaged", ["", "{", "[1]", json.dumps("x")])
def test_a_damaged_note_of_findings_stops_nothing(sick: Run, tmp_path: Path, damaged: str) -> None:
    (tmp_path / "recipe.yaml").write_bytes((sick.path / "recipe.yaml").read_bytes())
    (tmp_path / "findings.json").write_text(damaged)
    assert findings(Run(tmp_path)) == {}
