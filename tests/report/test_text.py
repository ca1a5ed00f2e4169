"""The text reports: what each figure reads as, what is not there, and what is never cut."""

from typing import Any

import pytest
import torch
from report import runs

from tailwise.counts import log_prior
from tailwise.evaluate import judge
from tailwise.report import card, compare, table
from tailwise.report.text import percent, spread

CIFAR10_LT_100 = torch.tensor([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])


def result(balanced: float = 0.7, **more: Any) -> dict[str, Any]:
    """A result block by hand, reduced to what a comparison reads."""
    return {
        "balanced": balanced,
        "many": 0.8,
        "medium": 0.5,
        "few": None,
        "worst": {"name": "ship", "recall": 0.25},
        "edges": {"many": "> 100", "medium": "20 to 100", "few": "< 20"},
        "classes_in_group": {"many": 8, "medium": 2, "few": 0},
        "seconds": 10.0,
        "epochs": 20,
        "data": "CIFAR-10-LT",
    } | more


def judged(counts: torch.Tensor, **more: Any) -> dict[str, Any]:
    classes = counts.numel()
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat(10)
    logits = torch.randn(labels.numel(), classes, generator=g) + torch.eye(classes)[labels] * 2
    return judge(logits, labels, counts, [f"class {c}" for c in range(classes)], **more)


def test_percent() -> None:
    assert (percent(0.7089), percent(0.0), percent(1.0), percent(None)) == ("70.9", "0.0", "100.0", "n/a")
    assert (percent(0.05, "+"), percent(-0.05, "+")) == ("+5.0", "-5.0")


def test_spread_is_mean_and_sample_deviation() -> None:
    assert spread([0.70, 0.72, 0.74], 100) == "72.0 ± 2.0"  # n − 1: squares 4 + 0 + 4 over 2
    assert spread([0.7], 100) == "70.0"
    assert spread([None, None]) == spread([]) == "n/a"
    assert spread([1.0, None, 3.0]) == "2.0 ± 1.4 (2 of 3)"


def cells(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return [cell.strip() for cell in line.split("   ") if cell.strip()]


def test_compare_has_a_row_for_each_method_with_mean_and_deviation() -> None:
    text = compare({"CE": [result(0.7), result(0.72, seconds=12.0), result(0.74, seconds=14.0)], "GML": [result(0.8)]})
    assert cells(text, "method") == ["method", "n", "all", "many", "medium", "few", "worst class", "seconds"]
    assert cells(text, "CE") == ["CE", "3", "72.0 ± 2.0", "80.0 ± 0.0", "50.0 ± 0.0", "n/a", "25.0 ± 0.0", "12.0 ± 2.0"]
    assert cells(text, "GML") == ["GML", "1", "80.0", "80.0", "50.0", "n/a", "25.0", "10.0"]
    assert "last epoch" in text
    assert "many > 100 (8 classes), medium 20 to 100 (2 classes), few < 20 (0 classes)" in text
    assert "Data: CIFAR-10-LT." in text
    assert "Epochs: 20." in text
    assert "est epoch on" not in text


def test_compare_says_where_the_rows_differ() -> None:
    text = compare({"CE": [result(), result(epochs=30)], "GML": [result(epochs=200)]})
    assert "Epochs: CE: 20 and 30, GML: 200." in text
    other = result(classes_in_group={"many": 1, "medium": 2, "few": 3})
    text = compare({"CE": [other, result()], "GML": [result()]})
    assert "many > 100 (1 class), medium 20 to 100 (2 classes), few < 20 (3 classes): CE." in text
    assert "few < 20 (0 classes): CE, GML." in text


def test_runs_on_different_data_stand_apart() -> None:
    text = compare({"CE": [result(), result(data="digits")], "GML": [result(data="digits", epochs=200)]})
    assert text.startswith("These runs were judged on different data")
    first, second = text.split("Data: CIFAR-10-LT\n")[1].split("Data: digits\n")
    assert cells(first, "CE")[1] == cells(second, "CE")[1] == "1"
    assert "GML" not in first
    assert "Epochs: CE: 20, GML: 200." in second
    assert "Data:" not in second
    here, there = (result(per_class=[{"name": "a", "test": n}, {"name": "b", "test": 5}], n_test=n + 5) for n in (5, 6))
    text = compare({"CE": [here], "GML": [there]})  # of one name, but not the same images
    assert "Data: CIFAR-10-LT (2 classes, 10 test images)" in text
    assert "Data: CIFAR-10-LT (2 classes, 11 test images)" in text


def test_best_epoch_is_labelled_and_only_below_the_table() -> None:
    best = [{"epoch": e, "balanced": b, "split": "val"} for e, b in ((17, 0.91), (18, 0.93))]
    text = compare({"CE": [result(best_epoch=b) for b in best], "GML": [result(best_epoch=None)]})
    assert "Best epoch on val, not in the table: CE 92.0 ± 1.4 (epoch 17, 18)." in text
    assert "table: GML" not in text
    assert "92.0" not in text.split("Mean recall")[0]


def test_missing_figures_read_as_not_available() -> None:
    bare = result(worst=None)
    del bare["seconds"], bare["epochs"], bare["data"]
    text = compare({"CE": [bare]})
    assert cells(text, "CE")[-2:] == ["n/a", "n/a"]
    assert "Data" not in text
    assert "Epochs" not in text


def test_a_table_folds_names_and_never_cuts_figures() -> None:
    figures = ["123456.7 ± 12345.6 (2 of 3)"] * 7
    text = table(["method", *"abcdefg"], [["a name of several words " * 3, *figures]])
    assert text.count("123456.7 ± 12345.6 (2 of 3)") == 7
    assert "…" not in text
    narrow = table(["class", "recall"], [["x" * 150, "12.5"]])
    assert max(map(len, narrow.splitlines())) <= 100
    assert narrow.count("x") == 150
    assert "12.5" in narrow


def test_names_are_data_not_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = table(["class", "recall"], [["[red]truck[/red] :smile:", "12.5"]])
    assert "[red]truck[/red] :smile:" in text
    assert "\x1b" not in text


def test_card_shows_every_figure_of_a_run() -> None:
    trained = torch.ones(3, 10, dtype=torch.int64)  # a tally: every class was found
    found = judged(CIFAR10_LT_100, carried_log_prior=log_prior(CIFAR10_LT_100), train=trained)
    run = {"recipe": "ce", "data": "CIFAR-10-LT", "seed": 3, "epochs": 20, "seconds": 61.25}
    best = {"best_epoch": {"epoch": 17, "balanced": 0.913, "split": "val"}}
    text = card(found | run | best)
    lines = {line.split("  ")[0]: line.partition("  ")[2].strip() for line in text.splitlines()}
    assert text.startswith("recipe ce, data CIFAR-10-LT, seed 3, epochs 20, 61.2 seconds\n")
    assert lines["test samples"] == "100"
    assert lines["balanced accuracy"] == percent(found["balanced"])
    assert lines["by shots"] == f"many {percent(found['many'])}   medium {percent(found['medium'])}   few n/a"
    assert lines["groups"].startswith(
        "Training samples per class: many > 100 (8 classes), medium 20 to 100 (2 classes), few < 20 (0 classes)"
    )
    assert lines["by thirds"].startswith(f"head {percent(found['thirds']['head'])}   middle")
    assert lines["worst class"] == f"{percent(found['worst']['recall'])} ({found['worst']['name']})"
    for label, key in (("harmonic mean", "harmonic"), ("geometric mean", "geometric"), ("macro-F1", "macro_f1")):
        assert lines[label] == percent(found[key])
    assert lines["ECE"].startswith(f"all {percent(found['ece']['all'])}   many")
    assert lines["top-5"] == percent(found["top5"])
    assert lines["train - test gap"].startswith(f"all {percent(found['gap']['all'], '+')}   many +")
    assert lines["post-hoc"].startswith(f"balanced {percent(found['post_hoc']['balanced'])}   overall")
    assert lines["best epoch"] == "91.3 at epoch 17 on val, not the result"
    assert sum(line.startswith("class ") for line in text.splitlines()) == 11  # the head and ten classes
    assert "Every class\n" in text


def test_card_without_gap_or_post_hoc() -> None:
    text = card(judged(CIFAR10_LT_100))
    assert text.startswith("Result of the last epoch, in %\n")
    assert "train - test gap    n/a" in text
    assert "post-hoc            n/a (the logits carry no prior)" in text
    assert "as predict answers  n/a" in text
    assert "best epoch" not in text
    old = judged(CIFAR10_LT_100)
    del old["shipped"]
    assert card(old) == text


def test_a_card_says_what_predict_answers() -> None:
    found, _ = runs.judged(CIFAR10_LT_100)
    told = found["shipped"]
    text = card(found | {"gap": None})
    assert told["balanced"] > found["balanced"]
    assert f"as predict answers  balanced {percent(told['balanced'])}   overall {percent(told['overall'])}   many " in text
    assert f"\n{'':20}ECE all {percent(told['ece']['all'])}   many {percent(told['ece']['many'])}" in text


def test_what_says_nothing_of_few_classes_is_not_said() -> None:
    two, five, six = (card(judged(torch.arange(classes) * 30 + 10)) for classes in (2, 5, 6))
    assert "by thirds           n/a (2 classes have no thirds)" in two
    assert "by thirds           head " in five
    assert "top-5               n/a (right with any answer, of 2 classes)" in two
    assert "n/a (right with any answer, of 5 classes)" in five
    assert "top-5               n/a" not in six


def test_card_of_many_classes_shows_the_ten_worst() -> None:
    found = judged(torch.arange(21) * 10 + 1)
    shown = card(found).split("The ten of 21 classes with the lowest recall\n")[1]
    names = [line.split("   ")[0].strip() for line in shown.splitlines()[2:]]
    by_recall = sorted(found["per_class"], key=lambda c: float(c["recall"]))
    assert names == [c["name"] for c in by_recall[:10]]
