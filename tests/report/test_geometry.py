"""The section on geometry: plots of figures by group, in a page and in a terminal."""

import pytest

from tailwise.report.geometry import THEMES, Told, of, plot, section, text

CELL = {"value": 0.5, "low": 0.4, "high": 0.7, "classes": 3}
FIGURE = {"all": CELL, "many": CELL | {"value": -0.25, "low": None, "high": None}, "medium": None, "few": CELL | {"high": 40.0}}
STUDY = {
    "test": {"spread": FIGURE, "nc1": dict.fromkeys(FIGURE)},
    "train": {"spread": FIGURE},
    "between": {"gap": FIGURE},
    "dim": 8,
    "samples": {"test": 5, "train": 7},
    "views": "<shift>",
    "subset": 12,
}


def test_a_plot_has_a_mark_for_each_group_and_a_bar_for_each_interval() -> None:
    drawn = plot(Told("Spread", ""), of(STUDY, "spread"))
    assert len(drawn.dots) == 6
    assert {dot.series for dot in drawn.dots} == {0, 1}
    assert drawn.dots[0].note == "test, all: 0.5 (0.4 to 0.7)"
    assert drawn.dots[1].note == "test, many: -0.25"
    assert [line.style for line in drawn.lines] == ["thin", "line0", "line0", "line1", "line1"]  # 0 is inside the field
    for line in drawn.lines[1:]:
        (x, low), (same, high) = line.points
        assert x == same
        assert drawn.bottom >= low > high >= drawn.top
    assert all(drawn.left < dot.x < drawn.right and drawn.top <= dot.y <= drawn.bottom for dot in drawn.dots)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-9, -3e4])
def test_a_single_value_still_has_an_axis(value: float) -> None:
    drawn = plot(Told("", ""), {"test": {"all": {"value": value, "low": value, "high": value, "classes": 1}}})
    assert len(drawn.upwards) >= 2
    assert drawn.top <= drawn.dots[0].y <= drawn.bottom


def test_the_section_shows_what_has_a_value_and_escapes() -> None:
    shown = section(STUDY)
    assert "&lt;shift&gt;" in shown
    assert shown.count("<svg") == 2
    assert "Within / between" not in shown
    assert "Is a class one Gaussian?" not in shown
    assert "tailwise study" in section(None)


def test_a_terminal_gets_the_same_figures_of_one_run_or_of_several() -> None:
    one = text({"a": STUDY})
    assert "Spread: test " in one
    assert "0.5 [0.4, 0.7]" in one
    assert "0.5 [0.4, 40]" in one  # the ends themselves, where they lie differently
    assert "1 [1, 1]" in text({"a": {"test": {"spread": {"all": CELL | {"value": 1 - 1e-15, "low": 1 - 2e-15, "high": 1.0}}}}})
    assert "±" not in one
    assert one.splitlines()[0].split() == ["all", "many", "few"]  # no class is medium
    both = text({"runs/a": STUDY, "runs/b": {"test": {"spread": FIGURE}}})
    assert [line.split()[0] for line in both.splitlines()[2:4]] == ["runs/a", "runs/b"]
    names = [name for figures in THEMES.values() for name in figures]
    assert len(names) == len(set(names))
