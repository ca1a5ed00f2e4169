"""The page of a run for pixels: it holds all of itself, names every class, escapes names, and shows the worst first."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from report.pages import Page

from tailwise.metrics import boundary_tally, segmentation_summary, tally
from tailwise.report import page, pixels
from tailwise.report.colours import colours
from tailwise.report.page import Point, scatter
from tailwise.report.pixels import Example, pixel_report, write
from tailwise.types import IGNORE

NAMES = ["sky", "<b>road</b>", "pole & sign", "never"]
COUNTS = torch.tensor([7000, 2500, 500, 0])


def judged(classes: int = 4) -> tuple[dict[str, Any], list[Example]]:
    """A result, and three images of it: good, all ignored, and bad."""
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(np.kron(rng.integers(0, 3, (6, 8)), np.ones((5, 5), dtype=np.int64)))
    truth[:, :4] = IGNORE
    bad, nothing = torch.zeros_like(truth), torch.full_like(truth, IGNORE)
    image = torch.from_numpy(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    found = tally(truth.clamp(min=0), truth, 4) + tally(bad, truth, 4)
    outlines = boundary_tally(bad, truth, 4)
    result = {"recipe": "camvid/la", "data": "camvid", "seconds": 61.4, **segmentation_summary(found, COUNTS, NAMES, outlines)}
    examples = [
        ("good.png", 0.9, image, truth, truth.clamp(min=0)),
        ("empty.png", float("nan"), image, nothing, bad),
        ("<i>bad</i>.png", 0.1, image, truth, bad),
    ]
    return result, examples


def test_the_page_needs_nothing_else() -> None:
    result, examples = judged()
    text = pixel_report(result, examples)
    found = Page(text)
    assert not found.all("script")
    assert not found.all("link")
    assert not re.search(r"https?://|url\(|@import", text)
    assert all(img["src"].startswith("data:image/") for img in found.all("img"))
    assert all(img["alt"] for img in found.all("img"))
    assert found.all("html") == [{"lang": "en"}]
    assert "prefers-color-scheme:dark" in text


def test_names_are_escaped_and_every_class_is_there() -> None:
    result, examples = judged()
    text = pixel_report(result, examples)
    found = Page(text)
    assert "<b>" not in text
    assert "<i>" not in text
    for name in NAMES:
        assert name in found.words  # of the table
    table = text[text.index("<table>") : text.index("</table>")] + "</table>"
    order = [NAMES.index(name) for name in Page(table).words if name in NAMES]
    assert order == [0, 1, 2, 3]
    assert "boundary F" in table


def test_points_are_named_and_shaped_by_group() -> None:
    result, _ = judged()
    text = pixel_report(result)
    svg = text[text.index("<svg") : text.index("</svg>")]
    notes = re.findall(r"<title>(.*?)</title>", svg)
    assert len(notes) == 3  # "never" has no place on a logarithmic axis
    assert notes[0].startswith("sky: IoU ")
    assert notes[2].endswith("5.00 % of the training pixels (tail)")
    assert "Not drawn, for want of pixels: never." in text
    assert {mark["class"] for _, mark in Page(svg + "</svg>").tags if "mark" in str(mark.get("class"))} == {
        "mark series0",
        "mark series1",
        "mark series2",
    }
    assert Page(svg + "</svg>").all("svg")[0]["role"] == "img"
    assert "Worst images" not in text


def test_the_summary_says_what_the_figures_say() -> None:
    result, _ = judged()
    words = " ".join(Page(pixel_report(result)).words)
    assert f"Mean IoU is {100 * result['miou']:.1f} % over 3 classes" in words
    assert "2\u202f160 labelled test pixels" in words
    tail = result["groups"]["tail"]
    assert tail["precision"] > tail["accuracy"]
    assert "what is missed costs more than what is wrongly called rare" in words
    tail["precision"] = 0.01
    assert "what is wrongly called rare costs more than what is missed" in " ".join(Page(pixel_report(result)).words)
    assert "Adjusted" not in words
    result["post_hoc"] = {"miou": 0.5, "mean_accuracy": 0.5, "tail": tail}
    assert "Adjusted to equally frequent classes, mean IoU is 50.0 %" in " ".join(Page(pixel_report(result)).words)


def test_a_result_without_any_pixel_is_still_a_page() -> None:
    nothing = segmentation_summary(torch.zeros(3, 2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), ["a", "b"])
    assert "Mean IoU is n/a % over 0 classes" in " ".join(Page(pixel_report(nothing)).words)


def test_the_worst_come_first_and_the_unlabelled_last() -> None:
    result, examples = judged()
    found = Page(pixel_report(result, examples))
    titles = [word for word in found.words if ", mIoU" in word]
    assert titles == ["<i>bad</i>.png, mIoU 10.0 %", "good.png, mIoU 90.0 %", "empty.png, mIoU n/a %"]
    assert [word for word in found.words if word in ("image", "truth", "prediction")] == ["image", "truth", "prediction"] * 3
    assert found.all("img")[-2]["alt"] == "truth: nothing labelled"
    assert found.all("img")[-1]["alt"] == "prediction: sky 100 %"
    assert len(Page(pixel_report(result, examples, limit=1)).all("img")) == 3


def decoded(source: str | None) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(str(source).split(",")[1]))).convert("RGB"))


def test_masks_have_the_colours_of_the_key_and_stripes_where_ignored() -> None:
    result, examples = judged()
    _, truth, prediction = (decoded(img["src"]) for img in Page(pixel_report(result, examples[:1])).all("img"))
    labels = examples[0][3].numpy()
    assert np.array_equal(truth[labels >= 0], colours(4)[labels[labels >= 0]])
    assert set(map(tuple, truth[labels == IGNORE].tolist())) == {pixels.LIGHT, pixels.DARK}
    assert np.array_equal(prediction, colours(4)[examples[0][4].numpy()])


def test_large_pictures_are_made_small_and_their_room_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = judged()
    large = torch.zeros(1200, 900, dtype=torch.int64)
    large[600:] = 1
    examples = [(f"{i}.png", 0.5, torch.zeros(1200, 900, 3, dtype=torch.uint8), large, large) for i in range(4)]
    found = Page(pixel_report(result, examples)).all("img")
    assert {(img["width"], img["height"]) for img in found} == {("300", "400")}
    assert decoded(found[1]["src"]).shape == (400, 300, 3)
    assert len(found) == 12
    monkeypatch.setattr(pixels, "ROOM", sum(len(str(img["src"])) for img in found) // 2)
    text = pixel_report(result, examples)
    assert len(Page(text).all("img")) == 6
    assert "2 of 4 images" in text


def test_it_is_written_to_a_file(tmp_path: Path) -> None:
    result, examples = judged()
    write(tmp_path / "run/report.html", result, examples)
    assert (tmp_path / "run/report.html").read_text(encoding="utf-8") == pixel_report(result, examples)


def luminance(colour: str) -> float:
    """Of WCAG 2, of ``#rrggbb``."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_and_marks_stand_out_in_both_schemes() -> None:
    result, _ = judged()
    schemes = re.findall(r":root\{(.*?)\}", pixel_report(result))
    assert len(schemes) == 2
    for scheme in schemes:
        colour = dict(entry.split(":") for entry in scheme.split(";"))
        for name in ("--text", "--soft", "--one", "--two", "--three"):
            for ground in ("--page", "--card"):
                light, dark = sorted((luminance(colour[name]), luminance(colour[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


def test_labels_do_not_meet_and_points_lie_where_they_should() -> None:
    rng = np.random.default_rng(0)
    points = [Point(f"class {i}", float(x), float(y), i % 3, "") for i, (x, y) in enumerate(rng.random((60, 2)) ** 3 + 1e-4)]
    plot = scatter(points, ["a", "b", "c"], "x", "y", "alt", edges=[0.1])
    order = np.argsort([p.x for p in points])
    across = np.array([dot.x for dot in plot.dots])[order]
    assert (np.diff(across) >= 0).all()
    logs = np.log([p.x for p in points])[order]
    assert np.allclose((across - across[0]) / (across[-1] - across[0]), (logs - logs[0]) / (logs[-1] - logs[0]), atol=1e-3)
    assert np.allclose([dot.y for dot in plot.dots], [page.BOTTOM - (page.BOTTOM - page.TOP) * p.y for p in points], atol=0.06)
    boxes = []
    for dot in plot.dots:
        if dot.label:
            long = page.CHARACTER * len(dot.name)
            left = dot.label.x - {"start": 0, "end": long, "middle": long / 2}[dot.label.anchor]
            boxes.append((left, dot.label.y - 10, left + long, dot.label.y + 1))
    assert 10 < len(boxes) < 60
    for i, a in enumerate(boxes):
        assert page.LEFT <= a[0] <= a[2] <= page.RIGHT
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[:i])


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.003, 0.33], ["0.5 %", "1 %", "2 %", "5 %", "10 %", "20 %"]),
        ([1e-6, 0.5], ["0.0001 %", "0.001 %", "0.01 %", "0.1 %", "1 %", "10 %"]),
        ([0.1], ["10 %"]),
        ([], ["1 %", "2 %", "5 %", "10 %", "20 %", "50 %", "100 %"]),
    ],
)
def test_ticks_are_round_and_few(values: list[float], ticks: list[str]) -> None:
    points = [Point("p", value, 0.5, 0, "") for value in values]
    assert [label for _, label in scatter(points, ["a"], "x", "y", "alt").across] == ticks


def test_colours_are_distinct_and_stay_with_their_class() -> None:
    assert len(np.unique(colours(256), axis=0)) == 256
    assert np.array_equal(colours(11), colours(256)[:11])
    assert colours(5000).shape == (5000, 3)
    assert (colours(256).max(1) - colours(256).min(1)).min() > 20  # grey is for what is ignored
