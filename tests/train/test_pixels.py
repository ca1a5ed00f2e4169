"""Runs whose samples are pixels, from a folder of images and masks to the judged run folder."""

import json
from pathlib import Path
from typing import Any

import pytest
import scenes
import torch
from sklearn.metrics import jaccard_score

from tailwise.cli import main
from tailwise.data.augment.pixels import read_pair
from tailwise.inference import classes_at
from tailwise.task import Task
from tailwise.train.fit import evaluate, fit, resume
from tailwise.train.prepare import prepare
from tailwise.train.recipe import Data, Pixels
from tailwise.train.run import Run
from tailwise.types import TailwiseError

SMALL = {
    "model.backbone": "resnet10t",
    "model.width": 64,
    "data.image_size": 32,
    "optim.rule": "adamw",
    "optim.lr": 0.002,
    "batch_size": 4,
    "epochs": 2,
    "engine.progress": "none",
    "engine.threads": 1,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.folder(tmp_path_factory.mktemp("scenes"))


def trained(data: Path, out: Path, **more: Any) -> Run:
    own = {"data.download": str(out.parent / "cache"), **SMALL}
    return fit(data, out=out, overrides={**own, **{key.replace("__", "."): value for key, value in more.items()}})


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(data, tmp_path_factory.mktemp("run") / "la", objective="LogitAdjusted", data__pixels__boundary=0.0075)


def test_a_folder_of_images_and_masks_becomes_a_judged_run(run: Run) -> None:
    result = run.result
    assert [row["name"] for row in result["per_class"]] == ["sky", "ground", "house", "pole"]
    assert result["per_class"][3]["group"] == "tail"
    assert 0 < result["miou"] < 1
    assert 0 < result["boundary_f"] < 1
    assert result["n_test"] == 4
    assert result["post_hoc"] is None
    assert result["best_epoch"]["split"] == "val"
    assert run.manifest["data"]["train_counts"] == prepare(Data(source=run.manifest["data"]["source"])).counts.tolist()
    assert "<svg" in (run.path / "report.html").read_text()
    assert [{"val_miou", "val_balanced"} <= row.keys() for row in run.metrics()].count(True) == 2


def test_the_figures_are_those_of_the_shipped_model_on_all_test_pixels(run: Run, data: Path) -> None:
    prepared = prepare(Data(source=str(data)))
    model, truth, found = run.model(), [], []
    for i in range(len(prepared.test.labels)):
        image, labels = read_pair(prepared.test, i)  # type: ignore[arg-type]
        with torch.inference_mode():
            scores = model(prepared.normalise(image)[None, None]).at_labels()[0]
        kept = labels >= 0
        truth.append(labels[kept])
        found.append(classes_at(scores, (labels.shape[0], labels.shape[1]))[kept])
    expected = jaccard_score(torch.cat(truth), torch.cat(found), average=None, labels=range(4), zero_division=0)
    assert [row["iou"] for row in run.result["per_class"]] == pytest.approx(expected.tolist())


def test_judging_again_gives_the_same_figures(run: Run) -> None:
    before = json.dumps(run.result)
    assert json.dumps(evaluate(run.path).result) == before


def test_an_interrupted_run_ends_as_the_whole_one(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"objective": "GML", "objective__queue_size": 64}
    whole, steps, on_step = trained(data, tmp_path / "whole", **options), iter(range(9)), Task.on_step

    def stop(task: Task) -> None:
        on_step(task)
        if next(steps) == 4:  # the second step of the second epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Task, "on_step", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(data, tmp_path / "begun", **options)
    again = resume(tmp_path / "begun")
    for (name, one), other in zip(whole.model().state_dict().items(), again.model().state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("objective", ["CrossEntropy", "LDAM", "VS", "Focal", "BCL", "RCL", "ELM", "ProCo"])
def test_the_named_objectives_train_on_pixels(objective: str, data: Path, tmp_path: Path) -> None:
    result = trained(data, tmp_path / "run", objective=objective, epochs=1).result
    assert result["miou"] is not None
    assert (result["post_hoc"] is None) == (objective in ("BCL", "RCL", "ELM", "ProCo", "VS"))


def test_the_card_and_the_comparison_show_pixels(run: Run, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.path)]) == 0
    card = capsys.readouterr().out
    assert "mean IoU" in card
    assert "boundary F-score" in card
    assert "pole" in card
    assert main(["report", str(run.path), str(run.path)]) == 2  # one seed twice
    assert "seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data__imbalance_factor": 10}, "data.imbalance_factor and data.counts choose images by their one class"),
        ({"sampler": "ClassBalanced"}, "sampler: draws images by their one class"),
        ({"post_hoc": "TauNormalisation"}, "post_hoc: TauNormalisation reads the logits"),
        ({"model__experts": 2}, "model.experts: experts label images"),
        ({"model__decoder": "none"}, "model.decoder: none"),
        ({"data__views": ["simaugment"]}, "simaugment"),
        ({"data__pixels__scales": [2.0, 1.0]}, "scales: must be two numbers"),
        ({"data__pixels__ignore": 70000}, "ignore: a mask cannot have the value 70000"),
    ],
)
def test_what_makes_no_sense_for_pixels_is_refused(options: dict[str, Any], message: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=message.replace("(", r"\(")):
        trained(data, tmp_path / "run", **options)
    assert not (tmp_path / "run" / "result.json").exists()


def test_masks_are_judged_at_their_own_size(data: Path, tmp_path: Path) -> None:
    prepared = prepare(Data(source=str(data), pixels=Pixels(short_side=24), download=str(tmp_path)))
    views, labels = prepared.plain()(prepared.test, torch.tensor([1]), torch.tensor([0]))
    assert views.shape == (1, 1, 3, 24, 32)
    assert labels.shape == (1, 24, 32)
    result = trained(data, tmp_path / "run", data__pixels__short_side=24, data__image_size=24, epochs=1).result
    assert result["test_pixels"] == 4 * (48 * 64 - 16)
