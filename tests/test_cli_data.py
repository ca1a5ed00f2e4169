"""``tailwise data``: what it prints and writes, and what it refuses."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console
from survey.folders import folder, save, scene

from tailwise.cli.data import data
from tailwise.report.survey import BARS, survey_page
from tailwise.survey import survey
from tailwise.survey.text import bar, short, show
from tailwise.types import TailwiseError

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = folder(tmp_path_factory.mktemp("photos"), {"[red] deer": 25, "fox & <b>co": 8, "lynx": 3})
    save(root / "[red] deer/again.jpg", scene(0), quality=50)
    return root


def test_it_prints_bars_findings_and_what_to_do(photos: Path, capsys: Capture) -> None:
    data([str(photos)])
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].startswith(f"{photos}")
    assert max(map(len, lines)) <= 100
    bars = [line for line in lines if "█" in line]
    assert [line.split("█")[0].strip() for line in bars] == ["[red] deer", "fox & <b>co", "lynx"]
    assert [line.split()[-1] for line in bars] == ["medium", "few", "few"]
    assert [line.count("█") for line in bars] == [30, 20, 13]
    text = " ".join(printed.split())
    assert "groups: many > 100 (0); medium 20 to 100 (1); few < 20 (2)" in text
    assert "Near duplicates: 2 images (clusters: 1)" in text
    assert "20% of each class for test" in text
    assert "\x1b[" not in printed
    assert lines[-1] == f"tailwise fit {photos}"


def test_the_record_and_the_page_are_written(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    files = {kind: tmp_path / "new" / f"look.{kind}" for kind in ("json", "html")}
    data([str(photos), "--json", str(files["json"]), "--html", str(files["html"])])
    printed = capsys.readouterr().out
    assert f"written: {files['html']}" in printed
    record = json.loads(files["json"].read_text(encoding="utf-8"))
    assert record["classes"][0] == {"name": "[red] deer", "group": "medium", "train": 26}
    page = files["html"].read_text(encoding="utf-8")
    assert "fox &amp; &lt;b&gt;co" in page
    assert "<b>co" not in page
    assert page.count("data:image/jpeg") == 2
    assert not [word for word in ("http://", "https://", "url(", "@import", "<link") if word in page]
    assert list(photos.rglob("*.json")) == []


def test_a_file_that_cannot_be_written_costs_nothing_else(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TailwiseError, match="cannot be written") as caught:
        data([str(photos), "--json", str(tmp_path / "file" / "x.json")])
    assert "\n" not in str(caught.value)
    assert "What fit will do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "the following arguments are required: SOURCE"),
        (["a", "b"], "unrecognized arguments: b"),
        (["nowhere/at/all"], "no such data"),
        (["digits", "--ignore", "x"], "invalid int value"),
        (["digits", "--ignore", "3"], "has no masks"),
    ],
)
def test_bad_words_are_refused_in_one_line(words: list[str], part: str) -> None:
    with pytest.raises(TailwiseError) as caught:
        data(words)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_old_terminal_gets_plain_bars(photos: Path, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii", errors="replace") as file:
        show(survey(photos).record, Console(file=file, width=60))
    text = (tmp_path / "out").read_text(encoding="ascii")
    assert "#####" in text
    assert max(map(len, text.splitlines())) <= 60


def test_of_many_classes_the_ends_are_printed_and_all_are_on_the_page(photos: Path, tmp_path: Path) -> None:
    found = survey(photos)
    rows = [{"name": f"species {c}", "group": "many", "train": 5000 - c} for c in range(BARS * 3 + 1)]
    many = type(found)(found.source, {**found.record, "classes": rows}, found.alike)
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        show(many.record, Console(file=file, width=100))
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert text.count("species") == 40
    assert "… 1,161 more …" in text
    page = survey_page(many)
    assert page.count("<rect") == BARS + 1  # the key has one
    assert all(f">{row['name']}</th>" in page for row in rows)


def test_bars_and_short_numbers() -> None:
    assert [bar(n, 1000, 30) for n in (0, 1, 10, 1000)] == [0, 4, 11, 30]
    assert bar(0, 0, 30) == 0
    assert [short(n) for n in (0, 950, 1000, 20_123, 999_600, 20_076_880)] == ["0", "950", "1k", "20.1k", "1000k", "20.1M"]


def test_the_page_works_in_a_browser(photos: Path, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    if (chromium := shutil.which("chromium")) is None or sys.platform == "win32":
        pytest.skip("no chromium")
    file = tmp_path / "look.html"
    file.write_text(survey_page(survey(photos)), encoding="utf-8")
    words = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=[*words, "--disable-sync", "--no-first-run"])
        page = browser.new_page(viewport={"width": 380, "height": 800})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 380
        page.locator("svg rect[tabindex]").first.focus()
        assert page.locator("#tip").inner_text() == "[red] deer: 26 training images (medium)"
        page.get_by_role("searchbox").fill("lynx")
        assert page.locator("table.live tbody tr:visible").count() == 1
        assert all(page.locator("img").evaluate_all("images => images.map(i => i.naturalWidth > 0 && i.alt.length > 0)"))
        assert said == []
        browser.close()
