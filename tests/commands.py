"""Calling the command in this process, and folders of small pictures for it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tailwise.cli import main

QUIET = ["--engine.progress", "none", "--engine.threads=1", "--engine.accelerator=cpu"]
TINY = [*QUIET, "--model.backbone=resnet8", "--epochs=1", "--data.largest", "40", "--imbalance-factor", "5"]
OWN = [*QUIET, "--model.backbone=resnet8", "--epochs", "1", "--data.test", "0.3", "--data.validation", "0"]

Capture = pytest.CaptureFixture[str]


def refused(capsys: Capture, *words: str) -> str:
    """The one line of a refusal."""
    capsys.readouterr()
    assert main(list(words)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    assert printed.err.startswith("tailwise: ")
    assert "Traceback" not in printed.err
    return printed.err


def picture(path: Path, seed: int, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(seed).randint(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


def photos(root: Path, per_class: int = 8, classes: str = "ab", first: int = 0) -> Path:
    for c, name in enumerate(classes):
        for i in range(per_class):
            picture(root / name / f"{i}.png", first + 1000 * c + i)
    return root
