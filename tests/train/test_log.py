"""Loggers by name: which are made, what csv adds, and what is said where a library is missing."""

import importlib.util
from pathlib import Path
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


@pytest.mark.parametrize("name", ["wandb", "mlflow", "tensorboard"])
def test_a_missing_library_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda sought, *rest: None if sought == name else find(sought, *rest))
    with pytest.raises(TailwiseError, match=f"loggers: {name} is not installed; run pip install {name}, or leave it out"):
        loggers(["csv", name], tmp_path)


@pytest.mark.parametrize(("name", "logger"), [("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")])
def test_the_others_are_called_like_the_folder(name: str, logger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(importlib.util, "find_spec", lambda *sought: object())
    monkeypatch.setattr(f"lightning.pytorch.loggers.{logger}", lambda *given, **named: made.update(named, given=given) or name)
    assert loggers([name], tmp_path / "digits-GML-0")[1] == name
    assert "digits-GML-0" in (made.get("name"), made.get("run_name"))
    assert "tailwise" in (made.get("project"), *made["given"])


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match="'neptune' unknown; take csv, tensorboard, wandb, mlflow"):
        loggers(["csv", "neptune"], tmp_path)
