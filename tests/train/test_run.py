"""Run folders: logs that survive crashes, files that are replaced whole."""

import csv
import json
import os
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from tailwise.files import write_whole
from tailwise.train import checkpoint
from tailwise.train.log import Lines, RunLogger, progress
from tailwise.train.run import MANIFEST, METRICS, RECIPE, Run, new_folder, rows, surroundings, write_json
from tailwise.types import TailwiseError


def full_disk(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_run_needs_its_recipe_and_says_what_is_not_there_yet(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match="not a run of tailwise"):
        Run(tmp_path)
    with pytest.raises(TailwiseError, match="not a run of tailwise"):
        Run(tmp_path / "nowhere")
    (tmp_path / RECIPE).write_text("epochs: 1\n")
    run = Run(tmp_path)
    assert not run.finished
    assert run.metrics() == []
    with pytest.raises(TailwiseError, match=r"no result.json yet; finish the run with `tailwise fit --resume"):
        _ = run.result


DATA = {"sha256": "ab12", "classes": ["a"], "train_counts": [3]}


@pytest.mark.parametrize(
    ("manifest", "wrong"),
    [
        ([1], "expected keys and values, got list"),
        ({"settings": [1]}, "settings is a list"),
        ({"settings": {"a": [[[[0]]]] * 20_000}}, "settings: more than"),
        ({"data": 5}, "data is 5"),
        ({"data": DATA | {"classes": 5}}, "data.classes is 5"),
        ({"data": DATA | {"train_counts": 5}}, "data.train_counts is 5"),
        ({"data": DATA | {"sha256": None}}, "data.sha256 is null"),
        ({"data": DATA | {"samples": 5}}, "data.samples is 5"),
        ({"time_limit": {"minutes": "1"}}, 'time_limit.minutes is "1"'),
        ({"recipe": None}, "recipe is null"),
        ({}, "no data in it"),
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path: Path, manifest: object, wrong: str) -> None:
    (tmp_path / RECIPE).write_text("epochs: 1\n")
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(TailwiseError, match=rf"manifest\.json: damaged \({wrong}.*; delete it, then `tailwise fit --resume"):
        _ = Run(tmp_path).manifest["data"]


@pytest.mark.parametrize("value", ["NaN", "1e999", r'"\ud800"'])
def test_what_could_not_be_written_again_is_not_read(tmp_path: Path, value: str) -> None:
    (tmp_path / RECIPE).write_text("epochs: 1\n")
    (tmp_path / MANIFEST).write_text(f'{{"seed": {value}}}')
    with pytest.raises(TailwiseError, match=r"manifest\.json: not readable"):
        _ = Run(tmp_path).manifest


def test_a_sound_manifest_is_what_was_written(tmp_path: Path) -> None:
    (tmp_path / RECIPE).write_text("epochs: 1\n")
    run, content = Run(tmp_path), {"data": DATA, "settings": None, "time_limit": None, "recipe": "r"}
    run.write(MANIFEST, content)
    assert run.manifest == content
    assert run.manifest.get("objective") is None


def test_what_is_written_replaces_the_old_file_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": "ü"})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(TailwiseError, match=r"could not be written \(No space left on device\), the last one is whole"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ü"}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
    with pytest.raises(TailwiseError, match="continue with `tailwise fit --resume"):
        write_json(path, {"a": 2})
    with pytest.raises(TailwiseError, match=r"the last one is whole; choose another --json$"):
        write_json(path, {"a": 2}, "choose another --json")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})


def test_a_folder_with_nothing_but_a_list_of_bad_images_is_free(tmp_path: Path) -> None:
    (tmp_path / "data_issues.csv").write_text("path,split,problem\n")
    new_folder(tmp_path, overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_overwriting_keeps_what_the_older_run_needed(tmp_path: Path) -> None:
    for name in (RECIPE, "last.ckpt", "needs/teacher/recipe.yaml", "tensorboard/events"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    new_folder(tmp_path, overwrite=True)
    assert [str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file()] == ["needs/teacher/recipe.yaml"]


def test_the_log_is_a_table_that_leaves_out_repeats_and_cut_off_lines(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    logger.log_metrics({"loss": 1.0 / 3, "epoch": 0.0}, 1)
    logger.log_metrics({"val_balanced": 0.5, "epoch": 0}, 1)
    logger.log_metrics({"loss": 0.25, "epoch": 1}, 2)
    logger.log_metrics({"loss": 0.125, "epoch": 1}, 2)  # the same step again, after a resume
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 3, "lo')
    expected = [
        {"step": 1, "loss": 0.333333, "epoch": 0},
        {"step": 1, "val_balanced": 0.5, "epoch": 0},
        {"step": 2, "loss": 0.125, "epoch": 1},
    ]
    assert rows(tmp_path / METRICS) == expected
    logger.finalize("success")
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["loss"] for row in table] == ["0.333333", "", "0.125"]
    assert [row["val_balanced"] for row in table] == ["", "0.5", ""]


def test_progress_is_what_was_asked_for() -> None:
    from lightning.pytorch.callbacks import RichProgressBar

    assert progress("none") == []
    assert isinstance(progress("lines")[0], Lines)
    assert isinstance(progress("auto")[0], Lines)  # no terminal here
    assert isinstance(progress("bar")[0], RichProgressBar)


def test_surroundings_name_versions_and_hardware() -> None:
    found = surroundings()
    assert torch.__version__.startswith(found["versions"]["torch"])
    assert found["hardware"]["cores"] >= 1
    assert json.dumps(found)


def test_a_checkpoint_is_made_beside_the_old_one_and_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))  # maybe on another disk, so not gone through
    path = tmp_path / "last.ckpt"
    checkpoint.Whole().save_checkpoint({"state_dict": {"a": torch.ones(2)}}, path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(TailwiseError, match="could not be written"):
        checkpoint.Whole().save_checkpoint({"state_dict": {"a": torch.zeros(2)}}, path)
    assert torch.load(path, weights_only=True)["state_dict"]["a"].tolist() == [1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_only_a_fitting_checkpoint_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    model = nn.Linear(2, 3)
    checkpoint.Whole().save_checkpoint({"state_dict": model.state_dict()}, path)
    checkpoint.check(path, model)  # type: ignore[arg-type]
    with pytest.raises(TailwiseError, match="not a checkpoint of this run"):
        checkpoint.check(path, nn.Linear(2, 4))  # type: ignore[arg-type]
    write_whole(path, b"")
    with pytest.raises(TailwiseError, match="not a checkpoint of this run"):
        checkpoint.check(path, model)  # type: ignore[arg-type]
