"""Loggers by name: which are made, what csv adds, and what is said where a library is missing."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from tailwise.train.log import Rows, RunLogger, loggers
from tailwise.types import TailwiseError


def test_the_run_has_its_own_log_always_and_a_table_where_it_is_named(tmp_path: Path) -> None:
    (own,) = loggers([], tmp_path)
    own.log_metrics({"loss": 0.5}, 1)
    own.finalize("success")
    assert (type(own), [path.name for path in tmp_path.iterdir()]) == (Rows, ["metrics.jsonl"])
    (own,) = loggers(["csv"], tmp_path)
    own.finalize("success")
    assert isinstance(own, RunLogger)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,loss", "1,0.5"]


def test_tensorboard_writes_into_the_folder(tmp_path: Path) -> None:
    own, board = loggers(["tensorboard", "csv"], tmp_path)
    assert isinstance(own, RunLogger)
    assert isinstance(board, TensorBoardLogger)
    assert Path(board.log_dir) == tmp_path / "tensorboard"
    assert list(tmp_path.iterdir()) == []  # a run's folder must be empty before it begins


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_the_others_are_called_like_the_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    logger = {"wandb": "WandbLogger", "mlflow": "MLFlowLogger"}[name]
    monkeypatch.setattr("tailwise.train.log.check", lambda names: None)
    mlflow = ModuleType("mlflow")
    mlflow.get_tracking_uri = lambda: "sqlite:///mlflow.db"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setattr(f"lightning.pytorch.loggers.{logger}", lambda *given, **named: made.update(named, given=given) or name)
    assert loggers(name, tmp_path / "digits-GML-0")[1] == name  # one word is a name too
    assert "digits-GML-0" in (made.get("name"), made.get("run_name"))
    assert "tailwise" in (made.get("project"), *made["given"])
    assert made.get("tracking_uri", "sqlite:///mlflow.db") == "sqlite:///mlflow.db"  # the library's own place


def test_one_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def old(*given: object, **named: object) -> None:
        raise ModuleNotFoundError("Requirement 'wandb>=0.12.10' not met.\nTry pip install wandb")

    monkeypatch.setattr("tailwise.train.log.check", lambda names: None)
    monkeypatch.setattr("lightning.pytorch.loggers.WandbLogger", old)
    with pytest.raises(TailwiseError, match=r"loggers: wandb cannot be used \(Requirement [^\n]+\); mend that, [^\n]+ out$"):
        loggers(["wandb"], tmp_path)
