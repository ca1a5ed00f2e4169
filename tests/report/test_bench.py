"""The table of a bench: claims and their sources, stars, failures, and two formats that say the same."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest

from tailwise.report.bench import Row, columns, html, markdown, notes

CLAIM = {"claimed": "79.7", "source": "Table 2 of the paper"}
VOID = {"meta"}


def result(seed: int = 0, **changed: Any) -> dict[str, Any]:
    block = {"seed": seed, "data": "digits-LT, exp 50", "epochs": 40, "seconds": 10.0 + seed, "peak_memory_mb": 800 + seed}
    block |= {"balanced": 0.7 + seed / 100, "many": 0.9, "medium": 0.6, "few": None, "best_epoch": None}
    block |= {"edges": {"many": "> 100", "medium": "20 to 100", "few": "< 20"}}
    return block | {"classes_in_group": {"many": 3, "medium": 7, "few": 0}} | changed


def cells(row: Row, *overrides: str) -> Mapping[str, str]:
    return dict(zip(columns([row]), row.cells(overrides), strict=True))


def test_a_row_is_the_mean_and_spread_of_the_last_epoch_with_the_best_beside_it() -> None:
    best = [{"epoch": 9, "balanced": 0.8, "split": "val"}, {"epoch": 9, "balanced": 0.82, "split": "val"}]
    row = Row("la", CLAIM, [result(seed, best_epoch=best[seed]) for seed in (0, 1)])
    assert cells(row) == {
        "method": "la",
        "claimed": "79.7",
        "n": "2",
        "last epoch": "70.5 ± 0.7",
        "best epoch": "81.0 ± 1.4",
        "many": "90.0 ± 0.0",
        "medium": "60.0 ± 0.0",
        "few": "n/a",
        "seconds": "10.5 ± 0.7",
        "peak MB": "800.5 ± 0.7",
    }
    said = notes([row], ())
    assert "la: best epoch 9 on val." in said
    assert "la: 79.7 is claimed by Table 2 of the paper." in said
    assert "Training samples per class: many > 100 (3 classes), medium 20 to 100 (7 classes), few < 20 (0 classes)." in said
    assert "Data: digits-LT, exp 50." in said
    assert "Epochs: 40." in said
    assert not [line for line in said if "not the paper's" in line or "not in the table" in line]


def test_without_a_validation_split_there_is_no_best_epoch() -> None:
    row = Row("la", CLAIM, [result()])
    assert cells(row)["best epoch"] == "n/a"
    assert cells(row)["last epoch"] == "70.0"
    assert not [line for line in notes([row], ()) if line.startswith("la: best")]


@pytest.mark.parametrize("claimed", [None, "nothing; a demonstration", ""])
def test_a_recipe_without_a_figure_claims_none_and_has_no_star(claimed: str | None) -> None:
    row = Row("la", {} if claimed is None else {"claimed": claimed, "differs": "the schedule"}, [result()])
    assert cells(row, "--epochs=3")["claimed"] == "none"
    assert cells(row, "--epochs=3")["method"] == "la"
    assert not [line for line in notes([row], ()) if "claimed" in line]


@pytest.mark.parametrize(
    ("differs", "overrides", "why"),
    [
        ("", (), ""),
        ("", ("--engine.threads=1", "--engine.workers=4"), ""),  # changes speed only
        ("JPEG pixels", (), "JPEG pixels"),
        ("", ("--engine.threads=1", "--epochs=3"), "run with --epochs=3"),
        ("JPEG pixels", ("--data.source=mine",), "JPEG pixels; run with --data.source=mine"),
    ],
)
def test_a_star_says_what_differs_from_the_paper(differs: str, overrides: tuple[str, ...], why: str) -> None:
    row = Row("la", {**CLAIM, "differs": differs}, [result()])
    assert cells(row, *overrides)["method"] == ("la*" if why else "la")
    assert (f"* la is not the paper's: {why}." in notes([row], overrides)) == bool(why)


def test_failures_stand_in_the_table_beside_what_succeeded() -> None:
    none, some = Row("bcl", CLAIM, [], ["seed 0: out of memory"]), Row("gml", {}, [result()], ["seed 1: out of luck"])
    assert (cells(none)["last epoch"], cells(none)["n"], cells(none)["seconds"]) == ("failed", "0", "n/a")
    assert (cells(some)["last epoch"], cells(some)["n"]) == ("70.0", "1")
    assert {"bcl, seed 0: out of memory.", "gml, seed 1: out of luck."} <= set(notes([none, some], ()))
    assert markdown([none]).startswith("| method |")  # a table of nothing but failures


def test_rows_on_other_data_say_so() -> None:
    said = notes([Row("a", {}, [result()]), Row("b", {}, [result(data="digits-LT, exp 9", epochs=3)])], ())
    assert "Data: a: digits-LT, exp 50, b: digits-LT, exp 9." in said
    assert "Epochs: a: 40, b: 3." in said


HOSTILE = Row("a|b_*c*", {**CLAIM, "differs": "<i>|*&"}, [result()], ["seed 1: <class 'int'> | *odd*"])


def test_markdown_shows_names_and_messages_as_they_are() -> None:
    lines = markdown([HOSTILE, Row("b", {}, [])], ("--data.source=*",)).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {len(columns([HOSTILE])) + 1}
    assert table[2].startswith(r"| a\|b_\*c\*\* | 79.7 | 1 | 70.0 |")
    assert not [line for line in lines if re.search(r"(?<!\\)[*<]", line)]  # neither emphasis nor a tag


class Page(HTMLParser):
    """Tags that are open, and the texts of cells and notes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {"th": [], "td": [], "li": []}

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]][-1] += data


def test_the_page_says_what_the_markdown_says() -> None:
    rows = [HOSTILE, Row("b", {}, [result(1)])]
    page = Page()
    page.feed(html(rows))
    assert page.open == []
    shown = [row.cells(()) for row in rows]
    assert page.texts["th"] == [*columns(rows), *(row[0] for row in shown)]
    assert page.texts["td"] == [cell for row in shown for cell in row[1:]]
    assert page.texts["li"] == notes(rows, ())
    assert 'class="failed"' in html(rows)
    assert "http" not in html(rows)  # it needs nothing else
