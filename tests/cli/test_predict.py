"""The words of ``tailwise predict``: which kind of run takes which, and what reaches the functions behind it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import Capture, refused

from tailwise import predict
from tailwise.cli import main


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Folders of a run for images and of one for pixels; what was called last is kept under "called"."""
    found: dict[str, Any] = {}
    for kind, network in (("images", {}), ("pixels", {"decoder": "fpn"})):
        found[kind] = str(tmp_path / kind)
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "model.json").write_text(json.dumps({"network": network}))

    def called(run: str, paths: list[str], out: str, **options: Any) -> SimpleNamespace:
        found["called"] = (Path(run).name, paths, out, options)
        return SimpleNamespace(out=out, images=2, skipped=[("a.jpg", "torn")], summary="under a prior", unread="lost.csv")

    monkeypatch.setattr(predict, "classify", called)
    monkeypatch.setattr(predict, "segment", called)
    return found


def test_words_reach_the_classifier(runs: dict[str, Any], capsys: Capture) -> None:
    assert main(["predict", runs["images"], "a.jpg", "b", "--out", "p.csv"]) == 0
    assert runs["called"] == ("images", ["a.jpg", "b"], "p.csv", {})
    printed = capsys.readouterr().out
    assert printed == "2 images in p.csv, under a prior\n1 images could not be read; they are listed in lost.csv\n"
    words = ["--top", "3", "--prior", "train", "--sets", "--abstain", "0.1", "--batch", "8"]
    assert main(["predict", runs["images"], "b", "--out", "p.csv", *words]) == 0
    assert runs["called"][3] == {"top": 3, "prior": "train", "sets": 0.9, "abstain": 0.1, "batch": 8}


@pytest.mark.parametrize(
    ("paths", "words", "column"),
    [
        (["b"], [], "folder"),
        (["list.csv"], [], "group"),
        (["list.csv"], ["site"], "site"),
        (["list.csv"], ["folder"], "folder"),
    ],
)
def test_groups_are_folders_or_a_column(runs: dict[str, Any], paths: list[str], words: list[str], column: str) -> None:
    assert main(["predict", runs["images"], *paths, "--out", "p.csv", "--per-group", *words]) == 0
    assert runs["called"][3] == {"per_group": column, "prior": "estimate"}


def test_words_reach_the_segmenter(runs: dict[str, Any], capsys: Capture) -> None:
    words = ["--no-overlay", "--window", "64x32", "--stride", "8", "--scales", "1", "2", "--flip"]
    assert main(["predict", runs["pixels"], "a.jpg", "--out", "masks", *words]) == 0
    options = {"overlay": False, "window": (64, 32), "stride": (8, 8), "scales": (1.0, 2.0), "flip": True}
    assert runs["called"] == ("pixels", ["a.jpg"], "masks", options)
    assert capsys.readouterr().out == "2 masks in masks; 1 skipped, see masks/skipped.csv\n"
    assert main(["predict", runs["pixels"], "a.jpg", "--out", "masks", "--window", "whole"]) == 0
    assert runs["called"][3] == {"window": "whole"}


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        ("images", ["--flip"], "classifies images, where --flip means nothing"),
        ("images", ["--no-overlay"], "where --no-overlay means nothing"),
        ("pixels", ["--prior", "train"], "labels pixels, where --prior means nothing"),
        ("pixels", ["--sets"], "where --sets means nothing"),
        ("pixels", ["--window", "wide"], "are HxW such as 512x512, got 'wide'"),
        ("images", ["--top", "many"], "invalid int value"),
    ],
)
def test_words_for_the_other_kind_of_run_are_refused(
    runs: dict[str, Any], capsys: Capture, kind: str, words: list[str], said: str
) -> None:
    assert said in refused(capsys, "predict", runs[kind], "a.jpg", "--out", "x", *words)


def test_no_images_and_no_run_are_one_line(runs: dict[str, Any], capsys: Capture, tmp_path: Path) -> None:
    assert "no images given" in refused(capsys, "predict", runs["images"], "--out", "p.csv", "--per-group", "photos")
    assert "--out" in refused(capsys, "predict", runs["images"], "a.jpg")
