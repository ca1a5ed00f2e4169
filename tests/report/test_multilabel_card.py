"""The card of a run whose images have several labels, and the tables of several such runs."""

import torch
from report.pages import Page, cells
from report.runs import labelled

from tailwise.report import card, compare
from tailwise.report.comparison import comparison
from tailwise.report.text import percent

COUNTS = torch.tensor([900, 300, 60, 30, 8, 3])


def lines(text: str) -> dict[str, str]:
    return {line.split("  ")[0]: line.partition("  ")[2].strip() for line in text.splitlines()}


def test_every_figure_is_on_the_card() -> None:
    block, _ = labelled(COUNTS)
    text, found = card(block | {"seconds": 3.0}), lines(card(block))
    assert text.startswith("recipe photos, data photos.csv, seed 0, epochs 6, 3.0 seconds\n")
    assert found["test images"] == "120"
    assert found["mAP"] == percent(block["map"])
    assert found["by positives"] == f"head {percent(block['head'])}   medium {percent(block['medium'])}   " + (
        f"tail {percent(block['tail'])}"
    )
    assert found["groups"].startswith("Training positives per class: head > 100 (2 classes), medium 20 to 100 (2 classes)")
    assert found["worst class"] == f"{percent(block['worst']['ap'])} ({block['worst']['name']})"
    assert found["F1"].startswith(f"macro {percent(block['macro_f1'])}   micro {percent(block['micro_f1'])}")
    labels = block["labels_per_image"]
    assert found["labels per image"] == f"train 1.75   test {labels['test']:.2f}   predicted {labels['predicted']:.2f}"
    assert found["train - test gap"] == "mAP +10.0   head +10.0   medium +10.0   tail +10.0"
    assert found["--prior uniform"].startswith(f"macro {percent(block['post_hoc']['macro_f1'])}   micro ")
    assert found["--prior uniform"].endswith(f"labels per image {block['post_hoc']['predicted']:.2f}")
    assert found["best epoch"] == "50.0 at epoch 4 on val, not the result"
    row = block["per_class"][0]
    assert found["class 0"].split() == [
        "900",
        str(row["test"]),
        *(percent(row[k]) for k in ("ap", "precision", "recall", "f1")),
    ]
    assert found["class 5"].split()[:3] == ["3", "0", "n/a"]  # on no test image


def test_what_is_not_there_reads_so() -> None:
    block, _ = labelled(COUNTS)
    found = lines(card(block | {"gap": None, "post_hoc": None, "best_epoch": None, "worst": None}))
    assert found["train - test gap"] == found["worst class"] == found["--prior uniform"] == "n/a"
    assert "best epoch" not in found


def test_of_many_classes_the_ten_of_lowest_ap() -> None:
    block, _ = labelled((900 * 0.005 ** (torch.arange(30) / 29)).long())
    shown = card(block).split("The ten of 30 classes with the lowest AP\n")[1]
    judged = sorted((row for row in block["per_class"] if row["ap"] is not None), key=lambda row: float(row["ap"]))
    assert [line.split("   ")[0].strip() for line in shown.splitlines()[2:]] == [row["name"] for row in judged[:10]]


def test_runs_are_compared() -> None:
    runs = {
        name: [labelled(COUNTS, seed=first + s)[0] | {"seed": s} for s in (0, 1)]
        for name, first in (("BCE <b>", 0), ("Asymmetric", 5))
    }
    text = compare(runs)
    head = next(line for line in text.splitlines() if line.startswith("method"))
    assert head.split("   ")[0] == "method"
    for title in ("mAP", "head", "medium", "tail", "macro-F1", "worst class"):
        assert title in head
    first = runs["BCE <b>"]
    assert f"{50 * (first[0]['map'] + first[1]['map']):.1f} ± " in next(x for x in text.splitlines() if x.startswith("BCE"))
    assert "Mean average precision and macro-F1 (at probability 1/2) over classes in %, last epoch" in text
    assert "Training positives per class: head > 100 (2 classes)" in text
    assert "Best epoch on val, not in the table: BCE <b> 50.0 ± 0.0 (epoch 4, 4)." in text
    page = comparison(runs)
    assert "<b>" not in page
    assert len(Page(page).all("svg")) == 5
    (differences,) = cells(page, "shared seeds")
    assert differences[:2] == ["Asymmetric", "2"]
    assert differences[2].lstrip("+-").split(" ± ")[0] == percent(
        abs(sum(b["map"] - a["map"] for a, b in zip(first, runs["Asymmetric"], strict=True)) / 2)
    )
