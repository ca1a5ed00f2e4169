"""The page of a run whose images have several labels: true to result.json, safe against names, for 2 classes and for 1000."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from report.pages import Page, cells
from report.runs import COUNTS, HOSTILE, LOG, labelled

from tailwise.data.source import Stacked
from tailwise.errors import visible
from tailwise.report import multilabel, multilabel_words
from tailwise.report.multilabel import Scored, multilabel_report, of_class
from tailwise.report.text import percent

MANIFEST = {"command": "tailwise fit photos.csv", "data": {"sha256": "ab12"}, "versions": {"<i>": "1"}}


def test_the_page_needs_nothing_else() -> None:
    text = multilabel_report(*labelled(COUNTS), LOG, MANIFEST)
    found = Page(text)
    assert not re.search(r"https?://|url\(|@import|<link|<iframe|srcset", text)
    assert all(str(img["src"]).startswith("data:image/") and img["alt"] for img in found.all("img"))
    for link in found.all("a"):
        assert f'id="{str(link["href"])[1:]}"' in text
    assert "tailwise fit photos.csv" in found.words
    assert [re.sub(" by epoch", "", label) for label in re.findall(r'aria-label="([^"]* by epoch)"', text)] == [
        "Training loss",
        "mAP, validation",
    ]
    assert 'aria-label="epoch 3: 16.0 %"' in text


def test_figures_are_those_of_the_result() -> None:
    block, scored = labelled(COUNTS)
    text = multilabel_report(block, scored, LOG)
    rows = {row[0]: row for row in cells(text, "test images")}
    for row, group in zip(block["per_class"], ("head", "head", "medium", "medium", "tail", "tail"), strict=True):
        shares = [percent(row[key]) for key in ("ap", "precision", "recall", "f1")]
        assert rows[row["name"]][1:] == [*shares, group, str(row["train"]), str(row["test"])]
    assert list(rows)[-1] == "class 5"  # its AP is not defined
    groups = {row[0]: row[1:] for row in cells(text, "mAP")}
    assert groups["all"] == ["", "6", percent(block["map"]), "+10.0"]
    assert groups["tail"] == ["&lt; 20", "2", percent(block["tail"]), "+10.0"]
    told, adjusted = cells(text, "macro-F1")
    named = block["labels_per_image"]["predicted"]
    assert told == ["as in training (predict)", percent(block["macro_f1"]), percent(block["micro_f1"]), f"{named:.2f}"]
    assert adjusted[1:] == [*(percent(block["post_hoc"][key]) for key in ("macro_f1", "micro_f1")), adjusted[-1]]
    assert adjusted[-1] == f"{block['post_hoc']['predicted']:.2f}"
    said = " ".join(Page(text).words)
    assert f"(mAP) is {percent(block['map'])} % on 120 test images" in said
    assert f"A training image has 1.75 labels on average, a test image {block['labels_per_image']['test']:.2f}." in said
    assert f"{percent(block['medium'])} % medium (20 to 100; 2 classes)" in said
    assert f"Lowest AP: {block['worst']['name']} ({percent(block['worst']['ap'])} %)" in said


def test_marks_name_their_classes() -> None:
    block, _ = labelled(COUNTS)
    text = multilabel_report(block)
    notes = re.findall(r'aria-label="(class \d: .*?)"', text)
    assert len(notes) == 5  # the last class has no AP
    row = block["per_class"][0]
    figures = f"AP {percent(row['ap'])} %, precision {percent(row['precision'])} %, recall {percent(row['recall'])} %"
    assert notes[0] == f"class 0: {figures}, F1 {percent(row['f1'])} %, 300 training images, {row['test']} test images"
    assert "Not drawn, for want of training or test images: class 5." in text
    assert "Worst and rarest" not in text  # nobody gave the answers


def test_names_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    block, scored = labelled(COUNTS, HOSTILE)
    text = multilabel_report(block, scored, LOG, MANIFEST)
    found = Page(text)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<i>" not in text
    assert len(found.all("script")) == 1
    assert not [attributes for _, attributes in found.tags if any(name.startswith("on") for name in attributes)]
    for name in HOSTILE:
        assert visible(name) in found.words  # of the table
    multilabel.write(tmp_path / "run" / "report.html", block, scored)
    assert "a &amp; b" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_two_classes_and_a_thousand() -> None:
    text = multilabel_report(*labelled(torch.tensor([200, 8])))
    assert len(cells(text, "test images")) == 2
    assert [row[2] for row in cells(text, "mAP")] == ["2", "1", "0", "1"]  # all, head, medium, tail
    assert 'href="#training"' not in text  # no log, no curves
    text = multilabel_report(*labelled((1000 * 0.002 ** (torch.arange(1000) / 999)).long()))
    assert len(cells(text, "test images")) == 1000
    assert len(text.encode()) < 2e6
    assert "Classes that lie together share a mark" in text


def test_a_run_that_nothing_is_known_of() -> None:
    block, scored = labelled(COUNTS)
    rows = [{**row, "test": 0, "ap": None, "recall": None} for row in block["per_class"]]
    nothing: dict[str, Any] = dict.fromkeys(("map", "head", "medium", "tail", "worst", "gap", "post_hoc", "macro_f1"))
    text = multilabel_report({**block, "per_class": rows, **nothing}, scored._replace(targets=scored.targets & False))
    assert "Lowest AP: n/a." in text
    assert "n/a medium (20 to 100; 2 classes)" in text
    assert [row[0] for row in cells(text, "macro-F1")] == ["as in training (predict)"]
    assert "train − test" not in text


def test_pictures_are_the_highest_of_both_sides() -> None:
    logits = torch.tensor([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0], [0.0, 3.0], [-1.0, -1.0]])
    targets = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # numbers do as well
    pixels = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    shelf = of_class(Scored(logits, targets, Stacked(pixels)), 0, "title", ["bird", "car"])
    assert [(one.caption, one.right) for one in shelf.thumbnails] == [
        ("no. 2, 88.1\u00a0%", True),
        ("no. 4, 50.0\u00a0%", True),
        ("no. 1, 95.3\u00a0%: car", False),
        ("no. 3, 73.1\u00a0%: no label", False),  # the last image stands behind all that have it
    ]
    assert [one.alt for one in shelf.thumbnails][:3] == ["test image 1: bird", "test image 3: bird", "test image 0: car"]
    many = Scored(torch.zeros(1, 9), torch.ones(1, 9), Stacked(pixels[:1]))
    (one,) = of_class(many, 8, "title", list("abcdefghi")).thumbnails
    assert one.alt == "test image 0: a, b, c and 6 more"


def warned(block: dict[str, Any], log: Any = (), **changes: Any) -> str:
    return " ".join(multilabel_words.warnings({**block, **changes}, log))


def test_warnings_say_what_the_figures_show() -> None:
    block, _ = labelled(torch.tensor([300, 200, 150]), n=400)
    rows = [{**row, "test": 50, "ap": 0.8, "recall": 0.5} for row in block["per_class"]]
    labels = {"train": 1.7, "test": 1.0, "predicted": 1.0}
    block |= {"per_class": rows, "labels_per_image": labels, "post_hoc": None, "map": 0.8}
    assert warned(block) == ""
    assert "Without a test image: 1 class (class 2)" in warned(block, per_class=[*rows[:2], {**rows[2], "test": 0, "ap": None}])
    assert "Without a training image" in warned(block, per_class=[*rows[:2], {**rows[2], "train": 0}])
    assert "at most 4 test images" in warned(block, per_class=[{**row, "test": 4} for row in rows])
    assert multilabel_words.random_order(block) == pytest.approx(50 / 400)
    assert "hardly better than a random order" in warned(block, map=0.15)
    assert "their AP is 50.0 points higher on the training images" in warned(block, gap={"tail": 0.5})
    assert "Never found at probability 1/2: 1 class (class 2)" in warned(
        block, per_class=[*rows[:2], {**rows[2], "recall": 0.0}]
    )
    assert "names fewer labels than there are: 0.60 per" in warned(block, labels_per_image={**labels, "predicted": 0.6})
    assert "names more labels than there are: 1.50 per" in warned(block, labels_per_image={**labels, "predicted": 1.5})
    better = {"macro_f1": block["macro_f1"] + 0.1, "micro_f1": 0.4, "predicted": 2.0}
    assert "rare classes are named too seldom" in warned(block, post_hoc=better)
    assert "named too seldom" not in warned(block, post_hoc=better, macro_f1=better["macro_f1"])
    assert "The mean average precision was still rising" in warned(block, LOG, best_epoch=None)
    assert "epoch 3 was better than the last by 50.0 points" in warned(block, LOG, best_epoch={"epoch": 3, "map": 0.9})
