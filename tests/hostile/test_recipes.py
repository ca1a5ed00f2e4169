"""Recipes of anybody: refused in one line, and nothing of theirs is imported or run."""

import os
from pathlib import Path

import pytest
from commands import Capture, refused

_DOUBLED = (f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]" for a, b in zip("abcdefghi", "bcdefghij", strict=True))
BOMB = "a: &a [x, x, x, x]\n" + "\n".join(_DOUBLED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("objective: os.system", "of Python's own library"),
        ("objective: {class_path: subprocess.Popen, init_args: {args: [touch, ran]}}", "of Python's own library"),
        ("objective: {class_path: GML, init_args: {teacher: {class_path: antigravity.fly}}}", "of Python's own library"),
        ("sampler: tailwise.files.write_whole", "is no Sampler"),
        ("a: !!python/object/apply:os.system [touch ran]", "not readable YAML"),
        ("epochs: " + "1" * 5000, "not readable YAML"),
        ("epochs: 2020-13-45", "not readable YAML"),
        ("a: " + "[" * 2000, "not readable YAML"),
        ("about: " + "{a: " * 60 + "1" + "}" * 60, "inside one another"),
        (BOMB, "with aliases written out"),
        ("a: &a [*a]", "with aliases written out"),
        ("# " + "x" * 10**6, "more than 256 KiB"),
        ("base: 5", "base must be the name or path of one recipe"),
        ("base: " + "a" * 5000, "no recipe"),
        ("base: r.yaml", "form a circle"),
        ("- a\n- b", "expected keys and values, got list"),
        ("a: \x00", "not readable YAML"),
        ("? [1, 2]\n: 3", "not readable YAML"),
        ("1: 2", "recipe: "),
    ],
    ids=range(19),
)  # fmt: skip
def test_a_hostile_recipe_is_one_line(
    text: str, expected: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(text)
    line = refused(capsys, "fit", "--recipe", "r.yaml", "--out", "run")
    assert expected in line
    assert len(line) < 1700
    assert os.listdir() == ["r.yaml"]


def test_a_class_of_pythons_own_is_not_imported(tmp_path: Path, capsys: Capture) -> None:
    import sys

    refused(capsys, "fit", "digits", "--objective", "antigravity.fly", "--out", str(tmp_path / "run"))
    refused(capsys, "fit", "digits", "--objective=antigravity.fly", "--out", str(tmp_path / "run"))
    assert "antigravity" not in sys.modules
