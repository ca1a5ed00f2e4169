"""`fit` without options: what it chooses, says and writes down; groups; a bound on time."""

import json
import time
from pathlib import Path

import pytest
import torch
import yaml
from commands import picture
from train.jobs import QUIET

from tailwise.data import open_source
from tailwise.models import Saved, pretrained
from tailwise.train import fit, limit
from tailwise.train.fit import evaluate, resume
from tailwise.train.prepare import prepare
from tailwise.train.recipe import Data
from tailwise.train.run import Run

LOUD = QUIET | {"engine.progress": "lines"}


def folder(root: Path, bursts: dict[str, int], side: int = 8, each: int = 3) -> Path:
    """``each`` images in so many folders below each class."""
    for c, (name, number) in enumerate(bursts.items()):
        for b in range(number):
            for i in range(each):
                picture(root / name / f"{name}{b}" / f"{i}.png", 1000 * c + 10 * b + i, (side, side))
    return root


def test_a_folder_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder(tmp_path / "photos", {"deer": 6, "fox": 4})
    run = fit(source, out=tmp_path / "run", overrides=LOUD | {"epochs": 1})
    err = capsys.readouterr().err
    chosen = {choice["what"]: choice for choice in run.manifest["chosen"]}
    assert list(chosen) == [
        "split",
        "objective",
        "network",
        "image size",
        "batch size",
        "learning rate",
        "warm-up",
    ]  # epochs were said
    assert "images of a group stay on one side" in chosen["split"]["why"]
    assert "folders of one name are one group" in chosen["split"]["why"]
    for choice in chosen.values():
        assert f"{choice['what']}: {choice['value']}" in err
        assert choice["option"] in err
    recipe = yaml.safe_load(run.recipe_text)
    assert (recipe["model"]["backbone"], recipe["data"]["image_size"]) == ("resnet32", 8)
    assert recipe["objective"]["class_path"].endswith("LogitAdjusted")
    assert (recipe["batch_size"], recipe["optim"]["lr"]) == (
        int(chosen["batch size"]["value"]),
        float(chosen["learning rate"]["value"]),
    )
    assert run.result["objective"] == "LogitAdjusted"
    assert "time_limit" not in run.result


def test_a_recipe_is_taken_as_it_is(tmp_path: Path) -> None:
    run = fit(recipe="digits_lt/ce", out=tmp_path / "run", overrides=QUIET | {"epochs": 1, "data.largest": 40})
    assert run.manifest["chosen"] == []
    assert yaml.safe_load(run.recipe_text)["optim"]["lr"] == 0.1


@pytest.mark.parametrize("layout", ["bursts", "site", "sequence", "group"])
def test_a_group_lies_on_one_side(tmp_path: Path, layout: str) -> None:
    source = folder(tmp_path / "photos", {"deer": 8, "fox": 4, "owl": 1})
    if layout != "bursts":
        rows = [f"{file},{file.parts[-3]},{file.parts[-2]}" for file in sorted(source.rglob("*.png"))]
        source = tmp_path / "list.csv"
        source.write_text("\n".join([f"path,label,{layout}", *rows]))
    prepared = prepare(Data(source=str(source)))
    parts = [set(part.groups or ()) for part in (prepared.train, prepared.checked, prepared.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert prepared.test.counts(3).tolist()[2] == 0  # the one burst of owls is trained on
    assert all(n > 0 for n in prepared.checked.counts(3).tolist()[:2])
    assert prepare(Data(source=str(source), groups="ignore")).test.counts(3).tolist()[2] > 0


def test_the_first_of_the_columns_counts(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "b.png", 2)
    (tmp_path / "l.csv").write_text("path,label,sequence,site\na.png,deer,,s1\nb.png,fox,,s2\n")
    assert open_source(tmp_path / "l.csv").splits["train"].groups == ("s1", "s2")


def test_a_class_of_one_image_is_trained_on(tmp_path: Path) -> None:
    for c, (name, n) in enumerate({"deer": 10, "fox": 6, "owl": 1}.items()):
        for i in range(n):
            picture(tmp_path / "d" / name / f"{i}.png", 100 * c + i)
    prepared = prepare(Data(source=str(tmp_path / "d")))
    assert prepared.train.counts(3).tolist()[2] == 1
    assert prepared.test.counts(3).tolist()[:2] == [2, 1]


def test_a_pretrained_file_is_tuned_lightly_and_shipped_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    whole = timm.create_model("test_vit", num_classes=5)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    source = folder(tmp_path / "photos", {"deer": 3, "fox": 3}, side=70, each=2)
    words = QUIET | {"model.backbone": "test_vit", "model.weights": str(tmp_path / "w.pth"), "epochs": 1}
    run = fit(source, out=tmp_path / "run", overrides=words)
    recipe = yaml.safe_load(run.recipe_text)["model"]
    assert (recipe["adapter"], recipe["classifier"], recipe["head"]) == ("lora", "cosine", "class_means")
    shipped = Saved(run.path).network.state_dict()
    frozen = "blocks.0.mlp.fc1.weight"
    assert torch.equal(shipped[f"backbone.{frozen}"], whole.state_dict()[frozen])
    assert not torch.equal(shipped["backbone.blocks.0.attn.qkv.weight"], whole.state_dict()["blocks.0.attn.qkv.weight"])
    assert not any("lora" in name or "base_layer" in name for name in shipped)
    before = run.result
    (run.path / "result.json").unlink()
    assert resume(run.path).result == before  # from the checkpoint, which holds the adapters


def test_offline_large_images_are_trained_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pretrained, "trouble", lambda name: "no network")
    source = folder(tmp_path / "photos", {"deer": 2, "fox": 2}, side=70, each=2)
    fit(source, out=tmp_path / "run", overrides=LOUD | {"epochs": 1})
    assert "network: resnet18; from scratch, as pretrained weights of" in capsys.readouterr().err


def test_a_plan_is_kept_by_result_manifest_and_a_second_judgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pace = limit.Pace(step=1.0, steps=10, read=1e-4, seen=1e-4, looked=1e-4, end=0.1, busy=1.0)
    monkeypatch.setattr(limit, "measure", lambda *_: pace)
    source = folder(tmp_path / "photos", {"deer": 4, "fox": 4})
    words = QUIET | {"model.backbone": "resnet8", "epochs": 500, "max_minutes": 8}
    run = fit(source, out=tmp_path / "run", overrides=words)
    planned = run.manifest["time_limit"]
    assert planned["asked_epochs"] == 500
    assert 0 < planned["planned_epochs"] < 40
    assert run.result["epochs"] == planned["planned_epochs"] == yaml.safe_load(run.recipe_text)["epochs"]
    assert run.result["time_limit"] == {"minutes": 8.0, "cut_off": False}
    before = json.dumps(run.result)
    assert json.dumps(evaluate(run.path).result) == before


@pytest.mark.slow
def test_the_bound_is_kept(tmp_path: Path) -> None:
    start = time.monotonic()
    run: Run = fit("digits", out=tmp_path / "run", overrides=QUIET | {"epochs": 10**6, "max_minutes": 2})
    assert time.monotonic() - start < 120
    assert run.result["epochs"] > 1


def test_groups_in_train_and_in_a_given_test_split_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["path,label,split,site"]
    for i in range(24):
        picture(tmp_path / f"{i}.png", i)
        rows.append(f"{i}.png,{'ab'[i % 2]},{'test' if i % 4 > 1 else 'train'},{'shared' if i < 8 else i}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    fit(tmp_path / "list.csv", out=tmp_path / "run", overrides=QUIET | {"epochs": 1, "model.backbone": "resnet8"})
    assert "groups of images that lie in train and in test: 1, such as shared" in capsys.readouterr().err
