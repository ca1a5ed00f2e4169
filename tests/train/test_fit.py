"""Whole jobs on the digits: what a run folder holds, and what is never written over."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
import yaml
from train.jobs import digits

import tailwise
from tailwise.train import fit
from tailwise.train.fit import evaluate
from tailwise.train.run import Run
from tailwise.types import TailwiseError


def test_a_run_folder_holds_everything(done: Run) -> None:
    assert sorted(path.name for path in done.path.iterdir()) == [
        "last.ckpt",
        "manifest.json",
        "metrics.csv",
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
        "recipe.yaml",
        "report.html",
        "result.json",
        "tensorboard",
        "validation.safetensors",
    ]
    recipe = yaml.safe_load(done.recipe_text)
    assert (recipe["data"]["source"], recipe["epochs"], recipe["optim"]["lr"]) == ("digits", 2, 0.05)
    assert recipe["optim"]["momentum"] == 0.9  # defaults are written down
    manifest = done.manifest
    assert manifest["data"]["train_counts"][0] == 54  # 60 less a tenth
    assert manifest["selection"] == "last epoch"
    assert {"python", "torch", "tailwise"} <= set(manifest["versions"])
    assert manifest["hardware"]["threads"] == 1
    rows = done.metrics()
    assert [row["val_balanced"] for row in rows if "val_balanced" in row]
    assert any("cls_epoch" in row for row in rows)
    csv = (done.path / "metrics.csv").read_text().splitlines()
    assert len(csv) == len(rows) + 1
    assert "cls_epoch" in csv[0]
    about = done.model().about
    assert about["classes"] == [str(c) for c in range(10)]
    assert (about["image_size"], about["train_counts"]) == (8, manifest["data"]["train_counts"])
    assert torch.tensor(about["carried_log_prior"]).exp().sum() == pytest.approx(1, abs=1e-5)  # cross-entropy carries it all
    assert torch.load(done.path / "last.ckpt", weights_only=True)["epoch"] == 2
    assert any((done.path / "tensorboard").glob("events*"))


def test_the_result_has_its_keys_and_plain_values(done: Run) -> None:
    result = done.result
    expected = {"recipe", "objective", "data", "seed", "epochs", "seconds", "selection", "best_epoch", "overall", "balanced"}
    expected |= {"many", "medium", "few", "edges", "thirds", "per_class", "worst", "harmonic", "geometric", "macro_f1", "ece"}
    assert expected | {"top5", "gap", "post_hoc", "n_test"} <= set(result)
    assert (result["objective"], result["data"], result["epochs"]) == ("CrossEntropy", "digits-LT, exp 10", 2)
    assert result["many"] is None  # no class has more than 100 images
    assert result["n_test"] == 400
    assert result["best_epoch"]["split"] == "val"
    assert result["seconds"] > 0
    assert len(result["per_class"]) == 10


def test_judging_again_writes_the_same(done: Run) -> None:
    before = (done.path / "result.json").read_bytes()
    (done.path / "result.json").write_text(json.dumps(done.result | {"balanced": 2.0}))
    evaluate(done.path)
    assert (done.path / "result.json").read_bytes() == before


def test_a_damaged_result_is_written_anew(tmp_path: Path, done: Run) -> None:
    copy = shutil.copytree(done.path, tmp_path / "copy")
    (copy / "result.json").write_text("{")
    again = evaluate(copy).result
    lost = {"seconds", "peak_memory_mb"}  # what training cost is written nowhere else
    assert again == {key: value for key, value in done.result.items() if key not in lost}


def test_an_existing_folder_is_not_written_over(tmp_path: Path, done: Run) -> None:
    copy = shutil.copytree(done.path, tmp_path / "copy")
    before = (copy / "result.json").read_bytes()
    with pytest.raises(TailwiseError, match="exists already"):
        digits(copy)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"mine")
    for overwrite in (False, True):
        with pytest.raises(TailwiseError, match=r"is not a run of tailwise|exists already"):
            digits(foreign, overwrite=overwrite)
    assert (foreign / "cat.jpg").read_bytes() == b"mine"
    for mistake in ({"data.source": "nowhere"}, {"epochs": 0}, {"data.imbalance_factor": 0.5}, {"objective": "GMM"}):
        with pytest.raises(TailwiseError):
            digits(copy, overwrite=True, **mistake)
    assert (copy / "result.json").read_bytes() == before  # a mistake costs nothing, even with overwrite
    assert digits(copy, overwrite=True, epochs=1).result["epochs"] == 1


def test_a_mistake_leaves_no_folder_that_would_be_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match="no such data"):
        digits(tmp_path / "run", **{"data.source": str(tmp_path / "nowhere")})
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TailwiseError, match="cannot be made"):
        digits(tmp_path / "file" / "run")
    with pytest.raises(TailwiseError, match="exists already"):
        digits(tmp_path / "file")


def test_the_job_in_python_is_public(done: Run) -> None:
    assert tailwise.Run is Run
    assert tailwise.fit is fit
    assert repr(done) == f"Run({str(done.path)!r})"


def test_a_checkpoint_never_passes_through_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))  # it may lie on another disk
    assert digits(tmp_path / "run", epochs=1).finished
