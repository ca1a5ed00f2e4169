"""What it takes to repeat a run: its commands can be pasted into bash and zsh."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from tailwise.report.repeat import repeat


def printed(command: str, folder: Path) -> dict[str, str]:
    """The facts, by their labels."""
    manifest: dict[str, Any] = {
        "command": command,
        "date": "2026-11-21",
        "recipe": "digits_lt/la",
        "objective": "LogitAdjusted",
        "seed": 0,
        "selection": "last epoch",
        "data": {
            "source": "digits",
            "classes": ["a", "b"],
            "samples": {"train": 12},
            "sha256": "0" * 64,
            "imbalance_factor": {"realised": 2.0, "nominal": None},
            "skipped": 0,
        },
        "versions": {"torch": "2.6"},
        "hardware": {"cpu": "a CPU", "cores": 2, "threads": 1, "gpus": []},
    }
    lines = repeat(folder, manifest, "epochs: 3\n").split("\n\n")[0].splitlines()
    return {line[:13].strip(): line[13:].strip() for line in lines}


@pytest.mark.parametrize("words", [["--engine.loggers", "[csv,mlflow]", "--data.views=[{shift: {}}]"], ["--epochs", "3"]])
def test_the_command_is_quoted_word_by_word(words: list[str]) -> None:
    command = shlex.join(["tailwise", "fit", "my photos/", *words])
    assert printed(command, Path("runs/a"))["command"] == command


def test_the_command_of_an_older_run_is_quoted_now() -> None:
    found = printed("tailwise fit digits --engine.loggers [csv,mlflow] --epochs 3", Path("runs/a"))["command"]
    assert found == "tailwise fit digits --engine.loggers '[csv,mlflow]' --epochs 3"


def test_the_folder_is_quoted() -> None:
    again = printed("tailwise fit digits", Path("runs/my photos"))["again"]
    assert shlex.split(again) == ["tailwise", "fit", "--recipe", "runs/my photos/recipe.yaml", "--out", "NEW"]
