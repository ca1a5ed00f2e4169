"""The sentences follow the figures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from survey.folders import folder

from tailwise.data import Source, Split, Stacked
from tailwise.survey import survey
from tailwise.survey.recommend import recommend
from tailwise.survey.text import sections


def source(*counts: int, side: int = 32) -> Source:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    images = Stacked(torch.zeros(len(labels), 3, side, side, dtype=torch.uint8))
    return Source("s", tuple(f"class {c}" for c in range(len(counts))), {"train": Split(images, labels)}, (), "")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return dict(survey(folder(tmp_path_factory.mktemp("r"), {"a": 12, "b": 6})).record)


def advice(record: dict[str, Any], made: Source) -> dict[str, Any]:
    counts = made.splits["train"].counts(len(made.names)).tolist()
    rows = [{"name": n, "group": "few" if c < 20 else "many", "train": c} for n, c in zip(made.names, counts, strict=True)]
    train = {"images": sum(counts), "imbalance_factor": max(counts) / min(counts), "absent": []}
    return recommend(made, {**record, "source": "my photos", "classes": rows, "splits": {"train": train}})


@pytest.mark.parametrize(
    ("counts", "word"), [((30, 30), "no harder than"), ((120, 30), "moderate"), ((900, 30, 5), "hard"), ((50, 12, 11), "hard")]
)
def test_difficulty_is_a_matter_of_factor_and_rare_classes(record: dict[str, Any], counts: tuple[int, ...], word: str) -> None:
    assert f"Expected difficulty: {word}" in advice(record, source(*counts))["difficulty"][0]


def test_the_loss_follows_the_imbalance(record: dict[str, Any]) -> None:
    assert "about equally frequent" in advice(record, source(30, 10))["method"][0]
    assert "4 times what the rarest has" in advice(record, source(40, 10))["method"][0]


def test_the_size_follows_the_images(record: dict[str, Any]) -> None:
    assert "32 × 32 pixels" in str(advice(record, source(9, 9))["method"])
    large = str(advice(record, source(9, 9, side=230))["method"])
    assert "224 × 224 pixels" in large
    assert "pretrained" in large
    assert "pretrained" not in str(advice(record, source(9, 9))["method"])
    detailed = advice({**record, "images": {**record["images"], "median_short_side": 449}}, source(9, 9, side=230))
    assert "try a larger size" in str(detailed["method"])


def test_the_command_can_be_pasted(record: dict[str, Any]) -> None:
    assert advice(record, source(9, 9))["command"] == "tailwise fit 'my photos'"


def test_groups_stay_together_in_the_split(record: dict[str, Any]) -> None:
    made = source(12, 12)
    train = replace(made.splits["train"], groups=tuple(f"site {i // 4}" for i in range(24)))
    found = advice(record, replace(made, splits={"train": train}))
    assert "images of a group stay on one side" in found["split"][0]
    assert all(number % 4 == 0 for number in found["images"].values())


def test_a_skewed_test_set_is_pointed_out(tmp_path: Path) -> None:
    folder(tmp_path / "train", {"a": 6, "b": 6})
    found = survey(folder(tmp_path / "test", {"a": 8, "b": 2}, first=50).parent).record
    assert "The test set is skewed too" in found["advice"]["difficulty"][-1]
    assert "Skipped" not in sections(found)
