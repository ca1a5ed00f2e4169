"""The soak's own records and page: what was missed stands there as missed, and every part can be run."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from soak.page import BEGIN, END, PAGE, PARTS, render, results
from soak.record import Part


def test_every_part_is_a_module_of_its_own() -> None:
    assert [part for part in PARTS if find_spec(f"soak.{part}") is None] == []
    assert {path.stem for path in results()} <= set(PARTS)


def test_a_missed_promise_is_written_as_missed_and_fails_the_part(tmp_path: Path) -> None:
    part = Part("resume", "Exact resume")
    part.add("A killed run ends bit-equal", "60 kills, 0 differences", "60 kills, 0 differences", True)
    part.add("Nothing is lost", "0 lost", "1 lost", False, "a full disk")
    part.table("Kills", [{"objective": "CE", "kills": 60}])
    with pytest.raises(SystemExit) as ended:
        part.write(tmp_path)
    assert ended.value.code == 1
    page = render(f"before\n{BEGIN}\nold\n{END}\nafter\n", [json.loads((tmp_path / "resume.json").read_text())])
    assert "| Nothing is lost | 0 lost | 1 lost | **missed** |" in page
    assert "| A killed run ends bit-equal | 60 kills, 0 differences | 60 kills, 0 differences | kept |" in page
    assert "- Nothing is lost: a full disk" in page
    assert "| CE | 60 |" in page
    assert "old" not in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")


def test_the_committed_page_shows_the_committed_results() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert render(text, [json.loads(path.read_text(encoding="utf-8")) for path in results()]) == text
