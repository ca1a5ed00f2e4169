"""Runs on images with several labels: from a list to a judged model."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.metrics import average_precision_score
from train.jobs import QUIET

from tailwise.data.loader import EvalLoader
from tailwise.evaluate import collect
from tailwise.models import Saved
from tailwise.train import fit
from tailwise.train.fit import evaluate, resume
from tailwise.train.prepare import prepare
from tailwise.train.recipe import Data
from tailwise.train.run import Run
from tailwise.types import TailwiseError

NAMES = ("left", "right", "rare")
SHARES = (0.6, 0.3, 0.06)
FEW = QUIET | {"epochs": 3, "model.backbone": "resnet8", "batch_size": 32, "optim.lr": 0.05}


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in which each class is a bright spot at a place of its own."""
    root, draw = tmp_path_factory.mktemp("spots"), np.random.default_rng(0)
    rows = []
    for i in range(260):
        there = [c for c in range(3) if draw.random() < SHARES[c]]
        pixels = draw.integers(0, 60, (12, 12, 3), dtype=np.uint8)
        for c in there:
            pixels[5:8, 4 * c : 4 * c + 3] += 150
        Image.fromarray(pixels).save(root / f"{i}.png")
        rows.append((f"{i}.png", ";".join(NAMES[c] for c in there), "train" if i < 200 else "test"))
    with open(root / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "labels", "split"), *rows])
    return root / "list.csv"


@pytest.fixture(scope="module")
def done(listing: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(listing, out=tmp_path_factory.mktemp("runs") / "run", overrides=FEW)


def test_a_list_is_enough(done: Run) -> None:
    recipe = yaml.safe_load(done.recipe_text)
    assert recipe["objective"]["class_path"].endswith("BinaryCrossEntropy")
    assert recipe["objective"]["init_args"]["tau"] == 1
    assert (
        recipe["objective"]["init_args"]["samples"] == done.manifest["data"]["samples"]["train"] == 179
    )  # a tenth of each class is held out

    assert [choice["what"] for choice in done.manifest["chosen"]][:2] == ["split", "objective"]
    assert (done.path / "report.html").is_file()
    assert any("val_map" in row for row in done.metrics())
    assert done.result["best_epoch"]["split"] == "val"


def test_the_result_is_that_of_the_saved_model(done: Run, listing: Path) -> None:
    prepared = prepare(Data(source=str(listing), image_size=yaml.safe_load(done.recipe_text)["data"]["image_size"]))
    saved = Saved(done.path)
    logits, targets = collect(saved.network, EvalLoader(prepared.test, prepared.plain(), batch_size=64))
    result = done.result
    assert result["task"] == saved.about["task"] == "multilabel"
    assert saved.about["train_samples"] == 179
    assert result["n_test"] == 60
    ap = [average_precision_score(targets[:, c], logits[:, c]) for c in range(3)]
    assert [row["ap"] for row in result["per_class"]] == pytest.approx(ap)
    assert result["map"] == pytest.approx(np.mean(ap))
    assert result["map"] > 0.5  # chance is 0.3: it has learned
    assert [row["train"] for row in result["per_class"]] == prepared.counts.tolist()
    assert result["labels_per_image"]["test"] == pytest.approx(float(targets.sum(1).mean()))
    odds = (prepared.counts / (179 - prepared.counts)).log()  # the objective's logits are free of them
    called = (logits + odds > 0).float()
    assert result["labels_per_image"]["predicted"] == pytest.approx(float(called.sum(1).mean()))
    assert result["micro_f1"] == pytest.approx(float(2 * (called * targets).sum() / (called.sum() + targets.sum())))
    assert result["post_hoc"]["predicted"] == pytest.approx(float((logits > 0).float().sum(1).mean()))
    assert set(result["gap"]) == {"map", "head", "medium", "tail"}
    assert result["gap"]["head"] is not None


def test_what_was_learned_at_the_prior_is_adjusted_afterwards(listing: Path, tmp_path: Path) -> None:
    options = FEW | {"objective": "BinaryCrossEntropy", "epochs": 1}
    plain = fit(listing, out=tmp_path / "plain", overrides=options)
    counts = torch.tensor([row["train"] for row in plain.result["per_class"]])
    carried = torch.tensor(Saved(plain.path).about["carried_log_prior"])
    assert torch.allclose(carried, (counts / (179 - counts)).log(), atol=1e-5)
    adjusted = fit(listing, out=tmp_path / "adjusted", overrides=options | {"post_hoc": "LogitAdjustment"})
    assert torch.tensor(Saved(adjusted.path).about["carried_log_prior"]).abs().max() < 1e-6  # nothing is left to take away
    for figure in ("macro_f1", "post_hoc", "map"):  # what users are told is the same on both ways
        assert adjusted.result[figure] == pytest.approx(plain.result[figure])


def test_a_split_without_a_label_is_undefined_and_costs_no_result(listing: Path, tmp_path: Path) -> None:
    rows = [row.split(",") for row in listing.read_text().splitlines()]
    bare = [
        [path, "" if i % 5 == 0 else labels, "val" if i % 5 == 0 and i else split]
        for i, (path, labels, split) in enumerate(rows)
    ]
    with (listing.parent / "bare.csv").open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *bare[1:]])
    run = fit(listing.parent / "bare.csv", out=tmp_path / "run", overrides=FEW | {"epochs": 1})
    assert run.result["best_epoch"] is None
    assert run.result["map"] is not None


def test_an_interrupted_run_goes_on_and_is_judged_again(listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from train.jobs import interrupt_in

    with monkeypatch.context() as patched:
        interrupt_in(patched, 1, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(listing, out=tmp_path / "run", overrides=FEW | {"epochs": 2})
    run = resume(tmp_path / "run")
    whole = fit(listing, out=tmp_path / "whole", overrides=FEW | {"epochs": 2})
    assert run.result["map"] == whole.result["map"]
    assert evaluate(run.path).result["per_class"] == whole.result["per_class"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"objective": "LogitAdjusted"}, "LogitAdjusted: takes one class per image and these have several; choose BinaryCross"),
        ({"objective": "BCL"}, "BCL: takes one class per image"),
        ({"sampler": "ClassBalanced"}, "draws images by their one class"),
        ({"data.imbalance_factor": 5}, "choose images by their one class"),
        ({"model.head": "class_means", "model.classifier": "cosine"}, "goes by an image's one class"),
        ({"model.experts": 3}, "experts name one class"),
        ({"post_hoc": "TauNormalisation"}, "goes by an image's one class"),
    ],
)
def test_what_makes_no_sense_for_several_labels_is_refused(
    listing: Path, tmp_path: Path, options: dict[str, object], problem: str
) -> None:
    with pytest.raises(TailwiseError, match=problem):
        fit(listing, out=tmp_path / "run", overrides=FEW | {"objective": "BinaryCrossEntropy"} | options)
    assert not (tmp_path / "run").exists()


def test_a_class_without_a_test_image_is_undefined(listing: Path, tmp_path: Path) -> None:
    rows = [row for row in csv.reader(listing.read_text().splitlines()) if row[2] != "test" or "rare" not in row[1]]
    with (listing.parent / "fewer.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    result = fit(listing.parent / "fewer.csv", out=tmp_path / "run", overrides=FEW | {"epochs": 1}).result
    ap = {row["name"]: row["ap"] for row in result["per_class"]}
    assert ap["rare"] is None
    assert result["map"] == pytest.approx((ap["left"] + ap["right"]) / 2)
    assert not math.isnan(result["macro_f1"])
