"""The benchmarks' page shows what was measured: no table is edited by hand, no target is lost, no miss looks met."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The modules of ``benchmarks``, which is not installed with the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        names = ("measure", "readme", "tables", "targets")
        yield SimpleNamespace(**{name: importlib.import_module(f"benchmarks.{name}") for name in names})
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


def test_the_page_is_what_the_committed_results_give(bench: SimpleNamespace) -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert bench.readme.results()
    assert bench.readme.render(text, bench.readme.results()) == text, "python -m benchmarks.readme"


def test_every_target_finds_its_figure(bench: SimpleNamespace) -> None:
    for path in bench.readme.results():
        record = json.loads(path.read_text(encoding="utf-8"))
        lost = {target.table for target in bench.targets.TARGETS if target.cell(record["tables"]) is None}
        assert lost <= {bench.targets.TRITON, bench.targets.PARTS}, path.name


def test_a_miss_is_stated_with_its_reason(bench: SimpleNamespace) -> None:
    def verdict(value: float) -> str:
        tables = {"BCL, forward and backward": [{"B, C, d": "256, 8142, 128", "dense / ours": value}]}
        (row,) = (row for row in bench.targets.verdicts(tables) if row["target"] == "the same, whole (of a GPU)")
        return str(row["verdict"])

    assert verdict(3.0) == "met"
    assert verdict(2.9) == "**missed**"
    untested = [row for row in bench.targets.verdicts({}) if row["verdict"] == "untested"]
    assert len(untested) == len(bench.targets.TARGETS)
    small = {bench.targets.GML: [{**bench.targets.SMALL_CASE, "dense / ours": 1.0}]}
    assert "overhead" in bench.targets.verdicts(small)[0]["why"]


def test_growth_worse_than_linear_is_called_so(bench: SimpleNamespace) -> None:
    def line(power: float) -> list[dict[str, float]]:
        return [{"x": x, "seconds": x**power + 1e6 * (x == 1)} for x in (1, 10, 100, 1000)]  # the first point does not count

    rows = bench.tables.growth({"a against keys": line(1.0), "b against keys": line(2.0), "other": [{"seconds": 1.0}]})
    assert [row["slope of seconds"] for row in rows] == ["1.00", "2.00"]
    assert [row["linear or better"] for row in rows] == ["yes", "**no**"]


def test_a_slope_is_that_of_three_points(bench: SimpleNamespace) -> None:
    rows = [{"x": 2.0**i, "seconds": 2.0**y} for i, y in enumerate((9, 0, 2, 2))]
    assert bench.measure.slope(rows) == pytest.approx(1.0)  # of the last two alone it would be 0
