"""The page in a real browser: no error, notes on hover and by keyboard, a table that filters and sorts.

``TAILWISE_SHOTS=folder`` keeps pictures of the pages: wide, as on a phone, and dark.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from report.runs import COUNTS, CUNNING, HOSTILE, LOG, judged, labelled, run_of

from tailwise.report import comparison, images, multilabel

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 120_000
"""Milliseconds: machines that run tests are busy."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS, "--no-first-run"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens an HTML text from a file, and afterwards refuses any message, error or request that it caused."""
    heard: list[str] = []
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: (heard.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: heard.append(request.url) if request.url.startswith("http") else None)

    def of(text: str, name: str = "") -> Any:
        file = tmp_path / "report.html"
        file.write_bytes(text.encode(errors="replace"))
        page.goto(file.as_uri())
        if name and (folder := os.environ.get("TAILWISE_SHOTS")):
            for look, width, scheme in (("wide", 1200, "light"), ("phone", 400, "light"), ("dark", 1200, "dark")):
                page.set_viewport_size({"width": width, "height": 900})
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=Path(folder) / f"{name}-{look}.png", full_page=True)
            page.set_viewport_size({"width": 1200, "height": 900})
            page.emulate_media(color_scheme="light")
        return page

    yield of
    page.close()
    assert heard == []


def test_pointing_at_a_mark_names_its_class_and_arrows_go_on(opened: Any) -> None:
    page = opened(images.image_report(*judged(COUNTS), LOG), "images")
    tip, marks = page.locator("#tip"), page.locator("svg.live").first.locator("[tabindex]")
    assert tip.is_hidden()
    marks.nth(2).hover()
    assert tip.inner_text().startswith("class 2: recall ")
    page.mouse.move(2, 2)
    assert tip.is_hidden()
    marks.first.focus()
    assert tip.inner_text().startswith("class 0: recall ")
    page.keyboard.press("ArrowRight")
    assert tip.inner_text().startswith("class 1: recall ")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text().startswith("class 5: recall ")
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    assert page.locator("svg.live").first.locator("[tabindex='0']").count() == 1


def shown(page: Any, column: int = 0) -> list[str]:
    return [str(row.locator("th, td").nth(column).inner_text()) for row in page.locator("table.live tbody tr:visible").all()]


def test_the_table_filters_and_sorts(opened: Any) -> None:
    block, evidence = judged(COUNTS)
    block["per_class"][4] = {**block["per_class"][4], "recall": None, "precision": None, "test": 0}
    page = opened(images.image_report(block, evidence._replace(labels=evidence.labels.clamp(max=3)), LOG))
    page.get_by_label("Filter").fill("CLASS 3")
    assert shown(page) == ["class 3"]
    assert page.locator(".controls [role=status]").inner_text() == "1 of 6 classes"
    page.get_by_label("Filter").fill("few")
    assert sorted(shown(page)) == ["class 4", "class 5"]
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="training images").click()
    assert shown(page, 4) == ["3", "10", "30", "60", "150", "300"]
    page.get_by_role("button", name="training images").click()
    assert shown(page, 4) == ["300", "150", "60", "30", "10", "3"]
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("training images")
    for _ in range(2):
        page.get_by_role("button", name="recall").click()
        assert shown(page)[-1] == "class 4"  # n/a is last both ways


def test_names_cannot_run(opened: Any) -> None:
    page = opened(images.image_report(*judged(COUNTS, HOSTILE), LOG))
    page.locator("svg.live").first.locator("[tabindex]").first.hover()
    assert page.locator("#tip").inner_text().startswith(HOSTILE[0])
    assert page.evaluate("document.scripts.length") == 1


@pytest.mark.parametrize("made", [judged, labelled], ids=["images", "multilabel"])
def test_long_names_leave_the_layout(made: Any, opened: Any) -> None:
    report = images.image_report if made is judged else multilabel.multilabel_report
    height = opened(report(*made(COUNTS), LOG)).evaluate("document.documentElement.scrollHeight")
    page = opened(report(*made(COUNTS, CUNNING), LOG), "cunning")
    assert page.evaluate("document.documentElement.scrollWidth") == 1200
    assert page.evaluate("document.documentElement.scrollHeight") < 1.5 * height
    assert page.evaluate("document.scripts.length") == 1
    assert r"\u202egpj.exe" in shown(page)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_it_fits_a_phone_and_works_without_scripts(browser: Any, opened: Any, tmp_path: Path) -> None:
    page = opened(images.image_report(*judged(COUNTS, [f"a rather long name of a species, number {c}" for c in range(6)]), LOG))
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for plot in (page.locator("figure.fit svg").nth(i) for i in range(2)):
        box = plot.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390  # nothing has to be scrolled to
    heads = [head.bounding_box() for head in page.locator("table.flow thead th").all()]
    assert heads[-1]["x"] + heads[-1]["width"] <= 390
    ends = [cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth") for cell in page.locator("table.flow th").all()]
    assert all(ends)  # no heading runs into the next one
    recall = page.locator("table").first.locator("thead th").nth(3).bounding_box()
    assert recall["x"] + recall["width"] <= 390  # recall, and what predict answers with its ECE
    plain = browser.new_page(java_script_enabled=False)
    plain.set_default_timeout(PATIENCE)
    plain.goto((tmp_path / "report.html").as_uri())
    assert plain.locator("table.live tbody tr:visible").count() == 6
    assert not plain.get_by_label("Filter").is_visible()
    plain.close()


def test_thousands_of_classes(opened: Any) -> None:
    counts = (1000 * 0.002 ** (torch.arange(8142) / 8142)).long()
    page = opened(images.image_report(*judged(counts, each=3)), "8142")
    assert page.locator("table.live tbody tr:visible").count() == 500
    page.get_by_label("Filter").fill("class 8141")
    assert shown(page) == ["class 8141"]


def test_a_comparison(opened: Any) -> None:
    runs = {"CE": [run_of(s, 0.5 + 0.02 * s) for s in range(3)], "LogitAdjusted": [run_of(s, 0.6 + 0.01 * s) for s in range(3)]}
    page = opened(comparison.comparison(runs), "comparison")
    page.locator("svg.live circle").first.hover()
    assert page.locator("#tip").inner_text() == "CE, seed 0: all 50.0 %"


def test_several_labels_per_image(opened: Any) -> None:
    page = opened(multilabel.multilabel_report(*labelled(COUNTS, HOSTILE), LOG), "multilabel")
    page.locator("svg.live").first.locator("[tabindex]").first.hover()
    assert page.locator("#tip").inner_text().startswith(f"{HOSTILE[0]}: AP ")
    assert page.evaluate("document.scripts.length") == 1
    page.get_by_label("Filter").fill("tail")
    assert len(shown(page)) == 2
    page.get_by_label("Filter").fill("")
    for _ in range(2):
        page.locator("table.live th button").nth(1).click()
        assert shown(page, 1)[-1] == "n/a"
    page.get_by_role("button", name="training images").click()
    assert shown(page, 6) == ["3", "10", "30", "60", "150", "300"]
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
