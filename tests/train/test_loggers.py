"""Loggers that cannot be used are one line, before anything that takes long."""

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

from tailwise.train.loggers import check, named
from tailwise.types import TailwiseError


def library(name: str, monkeypatch: pytest.MonkeyPatch, **holds: Any) -> ModuleType:
    """In the place of the real one."""
    made = ModuleType(name)
    vars(made).update(holds, __spec__=importlib.util.spec_from_loader(name, None))
    monkeypatch.setitem(sys.modules, name, made)
    return made


def test_one_word_is_a_name_too() -> None:
    assert named("csv") == ["csv"]
    assert named(("csv", "wandb")) == ["csv", "wandb"]
    check(())


@pytest.mark.parametrize("name", ["wandb", "mlflow", "tensorboard"])
def test_a_missing_library_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda sought, *rest: None if sought == name else find(sought, *rest))
    with pytest.raises(TailwiseError, match=f"loggers: {name} is not installed; run pip install {name}, or leave it out"):
        check(["csv", name])


def test_a_library_that_works_is_logged_in_to(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    library("wandb", monkeypatch, login=lambda: calls.append("login"))
    library("mlflow", monkeypatch)
    check(["wandb", "mlflow"])
    assert calls == ["login"]


def test_wandb_without_a_key_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def login() -> None:
        raise RuntimeError("No API key configured.\nUse `wandb login` to log in.")

    library("wandb", monkeypatch, login=login)
    said = (
        r"wandb cannot be used \(No API key configured. Use `wandb login` to log in.\); .* WANDB_MODE=offline, or leave it out$"
    )
    with pytest.raises(TailwiseError, match=said):
        check("wandb")


def test_a_library_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise AttributeError("module 'numpy' has no attribute 'float_'")

    library("mlflow", monkeypatch)
    monkeypatch.setattr("tailwise.train.loggers.importlib.import_module", broken)
    with pytest.raises(
        TailwiseError, match=r"mlflow cannot be used \(module 'numpy' has no attribute 'float_'\); mend that, or"
    ):
        check(["mlflow"])


def test_another_name_is_refused() -> None:
    with pytest.raises(TailwiseError, match="'neptune' unknown; take csv, tensorboard, wandb, mlflow"):
        check(["csv", "neptune"])
