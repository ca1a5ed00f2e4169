"""A study of a finished run: its figures, its file, its section of the page, and what is refused."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Capture

from tailwise.cli import main
from tailwise.report.geometry import GROUPS, renew
from tailwise.train.prepare import prepare
from tailwise.train.recipe import Data
from tailwise.train.run import Run
from tailwise.train.study import study
from tailwise.types import TailwiseError


@pytest.fixture(scope="module")
def copy(done: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(done.path, tmp_path_factory.mktemp("study") / "run"))


@pytest.fixture(scope="module")
def found(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("out") / "all.json"
    assert main(["study", str(copy), "--samples", "120", "--out", str(out)]) == 0
    found: dict[str, Any] = json.loads((copy / "study.json").read_text())
    assert json.loads(out.read_text()) == {str(copy): found}
    return found


def test_every_figure_is_of_every_group_that_has_classes(found: dict[str, Any], copy: Path) -> None:
    assert {part: len(found[part]) for part in ("test", "train", "between")} == {"test": 19, "train": 17, "between": 4}
    groups = Run(copy).result["classes_in_group"]
    for part in ("test", "train", "between"):
        for name, figure in found[part].items():
            assert set(figure) == set(GROUPS)
            for group in ("many", "medium", "few"):
                assert groups[group] or figure[group] is None, name
    cell = found["test"]["spread"]["all"]
    assert 0 <= cell["low"] <= cell["value"] <= cell["high"] <= 1
    assert cell["classes"] == 10
    assert found["samples"] == {"test": 120, "train": 120}
    assert found["ceilings"]["label_information"]["nats"] == pytest.approx(2.302585)


def test_with_all_samples_recall_and_gap_are_those_of_the_result(done: Run) -> None:
    found, result = study(done), done.result
    assert found["test"]["recall"]["all"]["value"] == pytest.approx(result["balanced"], abs=1e-6)
    assert found["between"]["gap"]["all"]["value"] == pytest.approx(result["gap"]["all"], abs=1e-6)
    assert found["between"]["gap"]["few"]["value"] == pytest.approx(result["gap"]["few"], abs=1e-6)
    assert study(done) == found


def test_of_classes_with_one_image_seen_nothing_is_told(done: Run) -> None:
    """A probe that learned from one image of a class is sure of nonsense."""
    found = study(done, samples=12)
    learned = found["between"]["label_information"]["all"]
    assert learned is None or learned["classes"] <= 2
    assert study(done, samples=10)["between"]["label_information"] == dict.fromkeys(GROUPS)
    for part in ("test", "train", "between"):
        for name in ("spread", "min_angle", "drift"):
            cell = found[part].get(name, {}).get("all")
            assert cell is None or cell["classes"] <= 2


def test_the_page_shows_a_study_of_its_model_only(found: dict[str, Any], copy: Path, capsys: Capture) -> None:
    page = copy / "report.html"
    assert "Is a class one Gaussian?" in page.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8").count('id="geometry"') == 1
    before = page.read_bytes()
    assert renew(copy)
    assert page.read_bytes() == before
    assert main(["evaluate", str(copy)]) == 0
    assert "Is a class one Gaussian?" in page.read_text(encoding="utf-8")
    (copy / "study.json").write_text(json.dumps(found | {"model": "another"}))
    assert not renew(copy)
    (copy / "study.json").write_text("{}")
    with pytest.raises(TailwiseError, match="not a study"):
        renew(copy)


def test_what_cannot_be_studied_is_refused_in_one_line(done: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TailwiseError, match="not a run of tailwise"):
        study(tmp_path)
    with pytest.raises(TailwiseError, match="at least two images"):
        study(done, samples=1)
    prepared = prepare(Data(imbalance_factor=10, largest=60))
    module = sys.modules["tailwise.train.study"]  # the package has the function under that name
    monkeypatch.setattr(module, "PreparedImages", int)
    monkeypatch.setattr(module, "prepare", lambda _: prepared)
    with pytest.raises(TailwiseError, match="one label each"):
        study(done)
