"""A recipe's text: plain YAML of a bounded size, whatever its aliases make of it."""

from pathlib import Path

import pytest

from tailwise.train import written
from tailwise.train.written import load, refuse_foreign
from tailwise.types import TailwiseError


def test_plain_yaml_is_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("a: &one {b: [1, 2.5, null]}\nc: *one\n")
    assert load(path, "recipe r") == {"a": {"b": [1, 2.5, None]}, "c": {"b": [1, 2.5, None]}}
    path.write_text("")
    assert load(path, "recipe r") == {}


def test_the_bounds_are_those_that_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "LONGEST", 1024)
    monkeypatch.setattr(written, "MOST", 5)
    monkeypatch.setattr(written, "DEEPEST", 3)
    path = tmp_path / "r.yaml"
    for text in ("a: [1, 2, 3, 4]", "a: [[1]]", "a: " + "x" * 1021):
        path.write_text(text)
        load(path, "recipe r")
    for text in ("a: [1, 2, 3, 4, 5]", "a: [[[1]]]", "a: " + "x" * 1022, "a: &a [1, 2]\nb: *a"):
        path.write_text(text)
        with pytest.raises(TailwiseError, match=r"^recipe r: "):
            load(path, "recipe r")


@pytest.mark.parametrize("words", [["--objective=os.path"], ["--objective", "os.path"], ["--objective.class_path=os.path"]])
def test_pythons_own_is_refused_on_the_command_line(words: list[str]) -> None:
    with pytest.raises(TailwiseError, match=r"recipe: os\.path is of Python's own library"):
        refuse_foreign({}, words)


def test_paths_and_other_words_are_not_classes() -> None:
    recipe = {"data": {"source": "code.csv"}, "about": {"row": "json.x"}, "objective": "tailwise.GML"}
    refuse_foreign(recipe, ["--data.source=code.csv"])
    refuse_foreign(recipe, [])
