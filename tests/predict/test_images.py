"""Tables of folders of images: their rows, priors, sets and marks; a killed job goes on; what is refused, and what is left."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from predict.colours import NAMES, Colours, coloured
from predict.test_tables import read

from tailwise.models import Network, save
from tailwise.predict import classify, images, labels_pixels
from tailwise.types import Output, TailwiseError


def said(out: Path) -> dict[str, Any]:
    return json.loads(out.with_name(f"{out.name}.about.json").read_text())


def table(out: Path) -> list[dict[str, str]]:
    import csv

    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_a_table(run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.csv"
    done = classify(run, [photos], out, top=2, batch=4)
    assert (done.out, done.images, [path.name for path, _ in done.skipped]) == (out, 10, ["broken.jpg"])
    assert done.summary == "under a uniform prior (every class alike); calibrated by temperature"
    rows = table(out)
    assert list(rows[0]) == ["path", "class", "probability", "class_2", "probability_2"]
    assert [Path(row["path"]).name for row in rows] == sorted(f"{i}, {'=' * (i == 3)}.png" for i in range(10))
    spreadsheet = [name if name[0] != "=" else f"'{name}" for name in NAMES]
    for i, row in enumerate(rows):
        assert row["class"] == spreadsheet[i % 3 if i % 2 else 0]
        best, second = float(row["probability"]), float(row["probability_2"])
        assert 1 > best > second > 0
        assert best == pytest.approx(1 / (1 + 2 * math.exp(-0.5 * 8 * 200 / 255)), abs=0.03)  # T = 2
    about = said(out)
    assert (about["images"], about["skipped"], about["prior"]["kind"]) == (10, 1, "uniform")
    assert about["calibration"]["method"] == "temperature"
    assert about["columns"] == list(rows[0])
    (lost,) = table(done.unread)
    assert lost["path"].endswith("broken.jpg")
    assert lost["problem"] in ("not an image", "truncated")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == [
        "out.csv",
        "out.csv.about.json",
        "out.csv.skipped.csv",
    ]
    assert capsys.readouterr().err.splitlines()[-1] == "11 of 11 images"
    with pytest.raises(TailwiseError, match=r"out\.csv exists already; choose another --out, or pass --overwrite"):
        classify(run, [photos / "b"], out)
    assert done.unread.exists()
    classify(run, [photos / "b"], out, overwrite=True)
    assert not done.unread.exists()  # of the last time


def test_the_formats_agree(run: Path, photos: Path, tmp_path: Path) -> None:
    tables = []
    for suffix in (".csv", ".jsonl", ".parquet"):
        classify(run, [photos], tmp_path / f"out{suffix}", sets=0.8, abstain=0.1)
        tables.append(read(tmp_path / f"out{suffix}"))
    assert tables[1] == tables[2]
    assert [{k: v.removeprefix("'") if isinstance(v, str) else v for k, v in row.items()} for row in tables[0]] == tables[1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_killed_job_goes_on_and_gives_the_same_file(
    run: Path, photos: Path, tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut, made = tmp_path / "whole.csv", tmp_path / "cut.csv", []

    def stop(batches: int) -> None:
        if batches == 2:
            raise error

    def saved(path: Path) -> Colours:
        made.append(Colours(path))
        return made[-1]

    monkeypatch.setattr(images, "Saved", saved)
    classify(run, [photos], whole, prior="estimate", per_group="folder", sets=0.9, batch=3)
    monkeypatch.setattr(Colours, "stop", staticmethod(stop))
    with pytest.raises(error) as raised:
        classify(run, [photos], cut, prior="estimate", per_group="folder", sets=0.9, batch=3)
    if error is KeyboardInterrupt:
        assert str(raised.value) == "6 of 11 images are done; the same command goes on"
    assert not cut.exists()
    with (tmp_path / "cut.csv.part" / "logits.f32").open("ab") as file:
        file.write(b"half a row")
    monkeypatch.setattr(Colours, "stop", staticmethod(lambda batches: None))
    classify(run, [photos], cut, prior="estimate", per_group="folder", sets=0.9, batch=3)
    assert made[-1].seen == made[0].seen[2:]  # nothing is looked at twice
    for end in (".csv", ".csv.about.json", ".csv.skipped.csv"):
        assert (tmp_path / f"whole{end}").read_bytes() == (tmp_path / f"cut{end}").read_bytes()
    assert not (tmp_path / "cut.csv.part").exists()


def test_other_images_do_not_join_a_job_that_was_begun(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(batches: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Colours, "stop", staticmethod(stop))
    with pytest.raises(KeyboardInterrupt):
        classify(run, [photos], tmp_path / "out.csv")
    with pytest.raises(TailwiseError, match="was begun for other images"):
        classify(run, [photos / "a"], tmp_path / "out.csv")
    listings = [tmp_path / site / "list.csv" for site in ("north", "south")]
    for listing in listings:  # the same names, relative to where they are listed
        coloured(listing.with_name("1.png"), 200, 100, 100)
        listing.write_text("path\n1.png\n")
    with pytest.raises(KeyboardInterrupt):
        classify(run, listings[:1], tmp_path / "sites.csv")
    with pytest.raises(TailwiseError, match="was begun for other images"):
        classify(run, listings[1:], tmp_path / "sites.csv")
    coloured(listings[0].with_name("1.png"), 100, 100, 200, seed=1)
    with pytest.raises(TailwiseError, match="was begun for other images"):  # the same place, another image
        classify(run, listings[:1], tmp_path / "sites.csv")
    about = (run / "model.json").read_text()
    for file, content in (("model.json", about.replace('"image_size": 8', '"image_size": 16')), ("model.safetensors", "other")):
        (run / file).write_text(content)
        with pytest.raises(TailwiseError, match="another model"):
            classify(run, [photos], tmp_path / "out.csv")
        (run / "model.json").write_text(about)


def test_an_image_without_finite_logits_is_not_lost(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Colours.forward

    def diverged(self: Colours, views: torch.Tensor) -> Output:
        scores = plain(self, views).logits.clone()
        scores[0, 0, 1] = torch.nan if len(self.seen) == 1 else torch.inf
        return Output(scores, scores, self.weight)

    monkeypatch.setattr(Colours, "forward", diverged)
    done = classify(run, [photos], tmp_path / "out.csv", batch=6)
    assert done.images == 8
    reasons = {path.name: reason for path, reason in done.skipped}
    assert len(reasons) == 3
    assert "not finite" not in reasons.pop("broken.jpg")
    assert set(reasons.values()) == {images.DIVERGED}
    assert len(table(tmp_path / "out.csv")) == 8


def grey(root: Path, many: int, few: int, seed: int) -> Path:
    """Images that are hardly more red (``many``) or green (``few``) than anything else."""
    for i in range(many + few):
        coloured(root / f"{i}.png", 128 + 15 * (i < many), 128 + 15 * (i >= many), 100, seed=seed + i)
    return root


def test_priors_move_the_answers(run: Path, tmp_path: Path) -> None:
    photos, out = grey(tmp_path / "grey", 12, 4, 0), tmp_path / "out.csv"
    (tmp_path / "prior.csv").write_text('share,class\n0,red\n3,green\n1,"=blue, or\nnot"\n')

    def shares(prior: str) -> list[float]:
        classify(run, [photos], out, top=3, prior=prior, overwrite=True)
        rows = [{row[f"class{k}"]: float(row[f"probability{k}"]) for k in ("", "_2", "_3")} for row in table(out)]
        return [sum(row[name] for row in rows) / len(rows) for name in ("red", "green", "'=blue, or\nnot")]

    uniform, train, file, estimate = map(shares, ("uniform", "train", str(tmp_path / "prior.csv"), "estimate"))
    assert train[0] > uniform[0]
    assert file[0] == 0
    assert file[1] > uniform[1]
    assert estimate[0] > uniform[0]
    assert said(out)["prior"]["kind"] == "estimate"
    found = said(out)["prior"]
    for table_ in (found["shares"], found["bbse"]):
        assert sum(row["share"] for row in table_.values()) == pytest.approx(1, abs=1e-4)
        assert all(0 <= row["low"] <= row["high"] <= 1 for row in table_.values())
    assert classify(run, [photos], out, prior=tmp_path / "prior.csv", overwrite=True).summary.startswith("under the prior of ")
    assert said(out)["prior"]["shares"] == {"red": 0, "green": 0.75, NAMES[2]: 0.25}


def test_every_group_has_its_own_prior(run: Path, tmp_path: Path) -> None:
    grey(tmp_path / "in" / "north", 20, 0, 0)
    grey(tmp_path / "in" / "south", 0, 20, 50)
    out = tmp_path / "out.csv"
    done = classify(run, [tmp_path / "in"], out, prior="estimate", per_group="folder")
    assert done.summary.startswith("under an estimated prior of each of 2 groups")
    groups = said(out)["prior"]["groups"]
    north, south = (groups[str(tmp_path / "in" / name)]["shares"] for name in ("north", "south"))
    assert north["red"]["share"] > 0.6 > 0.3 > south["red"]["share"]
    assert [row["group"] for row in table(out)] == [str(tmp_path / "in" / "north")] * 20 + [str(tmp_path / "in" / "south")] * 20
    assert {row["class"] for row in table(out)[:20]} == {"red"}
    listing = tmp_path / "list.csv"
    files = sorted((tmp_path / "in").rglob("*.png"))
    listing.write_text("path,site\n" + "".join(f"{file},{file.parent.name}\n" for file in files))
    classify(run, [listing], out, prior="estimate", per_group="site", overwrite=True)
    assert said(out)["prior"]["groups"]["north"]["shares"] == north


def test_sets_hold_the_likely_classes_and_strange_images_are_marked(run: Path, tmp_path: Path) -> None:
    coloured(tmp_path / "in" / "black.png", 5, 5, 5)
    coloured(tmp_path / "in" / "green.png", 100, 250, 100)
    coloured(tmp_path / "in" / "grey.png", 180, 180, 180)
    out = tmp_path / "out.jsonl"
    classify(run, [tmp_path / "in"], out, sets=0.9, abstain=0.05)
    black, green, grey_ = read(out)
    assert (black["abstain"], green["abstain"]) == (True, False)
    assert green["set"] == ["green"]
    assert len(grey_["set"]) > 1
    assert all(row["set"][0] == row["class"] for row in (black, green, grey_))
    basis = dict.fromkeys(("many", "medium", "few", "all", "none"), 0) | {"class": 3}
    assert said(out)["sets"] == {"coverage": 0.9, "thresholds_from": basis}
    assert said(out)["abstain"]["false_alarms_on_validation"]["all"] <= 0.05 + 1e-9
    classify(run, [tmp_path / "in"], out, sets=0.2, overwrite=True)
    assert [len(row["set"]) for row in read(out)] == [1, 1, 1]  # where no class reaches its threshold, the best is there
    (tmp_path / "prior.csv").write_text('class,share\nred,1\ngreen,0\n"=blue, or\nnot",1\n')
    classify(run, [tmp_path / "in"], out, sets=0.9, prior=tmp_path / "prior.csv", overwrite=True)
    assert not any("green" in row["set"] for row in read(out))


def test_a_run_that_held_nothing_out_says_so(run: Path, photos: Path, tmp_path: Path) -> None:
    (run / "validation.safetensors").unlink()
    about = json.loads((run / "model.json").read_text())
    del about["calibration"]
    (run / "model.json").write_text(json.dumps(about))
    for options in ({"sets": 0.9}, {"abstain": 0.05}):
        with pytest.raises(TailwiseError, match=r"needs validation\.safetensors, which a run writes that has a val"):
            classify(run, [photos], tmp_path / "out.csv", **options)
    done = classify(run, [photos], tmp_path / "out.csv", prior="estimate")
    assert "no calibration: the run had no validation split, or is of an older version" in done.summary
    assert "bbse" not in said(tmp_path / "out.csv")["prior"]


def test_nothing_is_replaced_unseen(run: Path, photos: Path, tmp_path: Path) -> None:
    listing = tmp_path / "list.csv"
    listing.write_text(f"path\n{photos / 'b' / '5, .png'}\n")
    with pytest.raises(TailwiseError, match=r"list\.csv is one of the inputs and would be replaced"):
        classify(run, [listing], listing, overwrite=True)
    listing.rename(tmp_path / "list.csv.skipped.csv")
    with pytest.raises(TailwiseError, match=r"list\.csv\.skipped\.csv is one of the inputs"):
        classify(run, [tmp_path / "list.csv.skipped.csv"], tmp_path / "list.csv")
    assert not (tmp_path / "list.csv.part").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top": 0}, "top and batch must be at least 1"),
        ({"sets": 1.5}, "coverage must lie between 0 and 1"),
        ({"abstain": 1.0}, "false-alarm rate must lie between 0 and 1"),
        ({"per_group": "folder"}, "so it needs --prior estimate"),
        ({"prior": "trian"}, "not a file, nor uniform, train or estimate"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_made(
    run: Path, photos: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(TailwiseError, match=said) as refusal:
        classify(run, [photos], tmp_path / "out.csv", **options)
    assert len(str(refusal.value).splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_images_that_nobody_can_read_are_one_line(run: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=r"none of the 1 images can be read; the first: .*broken\.jpg"):
        classify(run, [photos / "a" / "broken.jpg"], tmp_path / "out.csv")


def test_a_run_for_pixels_is_told_apart(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    about = json.loads((run / "model.json").read_text()) | {"network": {"decoder": "fpn"}}
    assert not labels_pixels(run)
    (run / "model.json").write_text(json.dumps(about))
    assert labels_pixels(run)
    assert not labels_pixels(tmp_path)
    with pytest.raises(TailwiseError, match="labels pixels, not whole images"):
        classify(run, [photos], tmp_path / "out.csv")
    monkeypatch.undo()
    with pytest.raises(TailwiseError, match=r"no model\.safetensors there"):
        classify(tmp_path, [photos], tmp_path / "out.csv")
    save(Network("resnet8", 3), tmp_path / "bare", {})
    with pytest.raises(TailwiseError, match="says nothing about classes and image_size and"):
        classify(tmp_path / "bare", [photos], tmp_path / "out.csv")
