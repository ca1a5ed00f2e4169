"""A run that classifies images by their colours, and folders of such images."""

import json
from pathlib import Path

import pytest
import torch
from predict.colours import NAMES, Colours, coloured

from tailwise import conformal
from tailwise.predict import images


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of such a run, with held-out samples."""
    folder = tmp_path / "run"
    folder.mkdir()
    about = {
        "network": {},
        "classes": NAMES,
        "image_size": 8,
        "normalisation": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        "train_counts": [200, 50, 10],
        "carried_log_prior": [0.0, 0.0, 0.0],
        "calibration": {"method": "temperature", "scale": 0.5, "bias": 0.0, "samples": 60},
    }
    (folder / "model.json").write_text(json.dumps(about))
    (folder / "model.safetensors").write_bytes(b"weights")
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    conformal.write(conformal.held_out(1.5 * torch.eye(3)[labels] + 1.5 * torch.randn(60, 3, generator=g), labels), folder)
    monkeypatch.setattr(images, "Saved", Colours)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eleven images in two folders, one of which nobody can read."""
    root = tmp_path / "photos"
    for i in range(10):
        values = [100, 100, 100]
        values[i % 3 if i % 2 else 0] = 200
        coloured(root / ("a" if i < 5 else "b") / f"{i}, {'=' * (i == 3)}.png", *values, seed=i)
    (root / "a" / "broken.jpg").write_bytes(b"no image")
    return root
