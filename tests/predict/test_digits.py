"""A real run, small as it is: on new digits estimated shares lower the error, and sets hold the true class."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from predict.test_tables import read
from train.jobs import digits

from tailwise.cli import main
from tailwise.counts import log_prior
from tailwise.data import open_source
from tailwise.train.run import Run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Cross-entropy on 10 classes with 130 to 13 images, of which half are held out."""
    options = {"epochs": 8, "data.largest": 130, "data.validation": 0.5}
    return digits(tmp_path_factory.mktemp("digits") / "run", **options)


@pytest.fixture(scope="module")
def backward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test images whose rare classes are the frequent ones of training; the true class is the first letter of a name."""
    root, test = tmp_path_factory.mktemp("images"), open_source("digits").splits["test"]
    taken = [0] * 10
    for i, label in enumerate(test.labels.tolist()):
        if taken[label] < round(40 * 20 ** ((label - 9) / 9)):
            Image.fromarray(np.asarray(test.images[i])).save(root / f"{label}_{i}.png")
            taken[label] += 1
    return root


def error(out: Path) -> float:
    rows = read(out)
    return sum(Path(row["path"]).name[0] != str(row["class"]) for row in rows) / len(rows)


def test_estimated_shares_lower_the_error(
    trained: Run, backward: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for prior in ("uniform", "train", "estimate"):
        out = tmp_path / f"{prior}.jsonl"
        assert main(["predict", str(trained.path), str(backward), "--out", str(out), "--prior", prior]) == 0
        found[prior] = error(out)
    assert found["estimate"] < min(found["uniform"], found["train"]), found
    assert "under an estimated prior" in capsys.readouterr().out


def test_the_calibration_is_that_of_the_held_out_images(trained: Run) -> None:
    about = trained.model().about
    calibration = about["calibration"]
    assert calibration["samples"] == trained.manifest["data"]["samples"]["val"]
    assert min(calibration["validation_loss"].values()) <= calibration["validation_loss"]["identity"]
    carried = torch.tensor(about["carried_log_prior"])
    assert torch.allclose(carried.log_softmax(0), log_prior(torch.tensor(about["train_counts"])).float(), atol=1e-4)


def test_sets_cover_new_images(trained: Run, backward: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["predict", str(trained.path), str(backward), "--out", str(out), "--sets", "0.8", "--abstain"]) == 0
    rows = read(out)
    covered = [Path(row["path"]).name[0] in row["set"] for row in rows]
    assert sum(covered) / len(covered) > 0.7
    assert sum(len(row["set"]) for row in rows) / len(rows) < 7
    assert sum(row["abstain"] for row in rows) / len(rows) < 0.2
