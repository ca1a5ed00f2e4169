"""The page of a run for images: whole in itself, true to result.json, safe against names, for 2 classes and for 8,142."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import TINY, Capture, refused
from report.pages import Page, cells
from report.runs import COUNTS, HOSTILE, LOG, judged, run_of

from tailwise.cli import main
from tailwise.data.source import Split, Stacked
from tailwise.errors import visible
from tailwise.report import charts, frequency, gallery, images
from tailwise.report import image_words as words
from tailwise.report.comparison import comparison, paired
from tailwise.report.evidence import confusions, flat, flow, gather, pairs, spread_over_groups
from tailwise.report.figures import IMAGES
from tailwise.report.images import image_report
from tailwise.report.page import script
from tailwise.report.text import percent
from tailwise.train.run import Run
from tailwise.types import IGNORE, TailwiseError


def test_the_page_needs_nothing_else() -> None:
    text = image_report(*judged(COUNTS), LOG)
    found = Page(text)
    assert not re.search(r"https?://|url\(|@import|<link|<iframe|srcset", text)
    assert all(str(img["src"]).startswith("data:image/") and img["alt"] for img in found.all("img"))
    assert [list(one) for one in found.all("script")] == [[]]
    policy = next(str(meta["content"]) for meta in found.all("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert f"script-src '{script()[1]}'" in policy
    assert f"<script>{script()[0]}</script>" in text
    assert found.all("html") == [{"lang": "en"}]
    assert len(script()[0].splitlines()) <= 100


def test_figures_are_those_of_the_result() -> None:
    block, evidence = judged(COUNTS)
    text = image_report(block, evidence, LOG)
    everyone = cells(text, "test images")
    assert len(everyone) == 6
    for name, recall, precision, _, train, test in everyone:
        row = next(row for row in block["per_class"] if row["name"] == name)
        assert [recall, precision, train, test] == [
            percent(row["recall"]),
            percent(row["precision"]),
            str(row["train"]),
            str(row["test"]),
        ]
    groups, told = {row[0]: row for row in cells(text, "raw ECE")}, block["shipped"]
    for name, key, group in (("all", "balanced", "all"), *((f"{g}-shot", g, g) for g in ("many", "medium", "few"))):
        shares = (block[key], told[key], told["ece"][group], block["ece"][group])
        assert groups[name][1:5] == [percent(share) for share in shares]
        assert groups[name][-1] == str(block["classes_in_group"].get(group, 6))
    said = " ".join(Page(text).words)
    assert f"is {percent(block['balanced'])} %" in said
    assert f"Of all test images {percent(block['overall'])} % are right" in said
    assert "guessing gives 17 %" in said
    counted = {(row[0], row[1]): int(row[2]) for row in cells(text, "taken for")}
    wrong = evidence.labels != evidence.predictions
    assert sum(counted.values()) == int(wrong.sum())
    assert {name for name, _ in counted} == {f"class {c}" for c in set(evidence.labels[wrong].tolist())}


def test_names_are_escaped_wherever_they_stand() -> None:
    block, evidence = judged(COUNTS, HOSTILE)
    manifest = {"command": "tailwise fit '<b>'", "data": {"sha256": "ab12"}, "versions": {"<i>": "1"}}
    text = image_report(block, evidence, LOG, manifest)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<b>" not in text
    assert "<i>" not in text
    found = Page(text)
    assert len(found.all("script")) == 1
    assert not [attributes for _, attributes in found.tags if any(name.startswith("on") for name in attributes)]
    for name in HOSTILE:
        assert visible(name) in found.words  # of the table
    assert "49" not in [row[0] for row in cells(text, "test images")]


def test_a_hostile_page_can_be_written(tmp_path: Path) -> None:
    images.write(tmp_path / "run" / "report.html", *judged(COUNTS, HOSTILE))
    assert "a &amp; b" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_two_classes() -> None:
    text = image_report(*judged(torch.tensor([90, 5])))
    assert len(cells(text, "test images")) == 2
    assert "guessing gives 50 %" in " ".join(Page(text).words)
    assert 'href="#training"' not in text  # no log, no curves
    assert "third" not in text


def test_8142_classes_in_seconds_and_megabytes() -> None:
    counts = (1000 * 0.002 ** (torch.arange(8142) / 8142)).long()
    text = image_report(*judged(counts, each=3, mapped=1000))
    assert len(text.encode()) < 6e6
    marks = [tag for _, tag in Page(text).tags if "mark" in str(tag.get("class"))]
    assert len(marks) < 2500
    assert len(cells(text, "test images")) == 8142
    assert "Classes that lie together share a mark" in text
    notes = re.findall(r"<title>(\d[\d,]*) classes with .*?</title>", text)
    single = re.findall(r"<title>class \d+: recall", text)
    assert sum(int(note.replace(",", "")) for note in notes) + len(single) == 8142
    assert "All of them" not in text  # a heat map of so many says nothing


def test_without_answers_and_without_errors() -> None:
    block, evidence = judged(COUNTS)
    alone = image_report(block)
    assert "Is the confidence right?" not in alone
    assert len(cells(alone, "test images")) == 6
    right = evidence._replace(predictions=evidence.labels)
    perfect = {**block, "per_class": [{**row, "recall": 1.0} for row in block["per_class"]]}
    text = image_report(perfect, right)
    assert "There is no error on the test set." in text
    assert "Pairs that are confused" not in text
    assert Page(text).all("img")  # the rarest classes still have theirs


def test_every_mark_says_what_it_is() -> None:
    block, evidence = judged(COUNTS)
    plot = frequency.frequency(block["per_class"], [0, 0, 1, 1, 2, 2], IMAGES)
    assert [dot.name for dot in plot.dots] == [row["name"] for row in block["per_class"]]
    assert plot.dots[5].note == (
        f"class 5: recall {percent(block['per_class'][5]['recall'])} %, precision "
        f"{percent(block['per_class'][5]['precision'])} %, 3 training images, 8 test images"
    )
    assert [label for _, label in plot.across] == ["5", "10", "20", "50", "100", "200"]
    assert len(plot.edges) == 2
    for mark in re.findall(r"<(?:circle|rect|path)[^>]*tabindex[^>]*>", image_report(block, evidence)):
        assert 'role="img" aria-label="' in mark


def test_flow_counts_where_each_group_ends() -> None:
    counts, labels = torch.tensor([300, 50, 5, 4]), torch.tensor([0, 0, 1, 2, 2, 3, IGNORE])
    predictions = torch.tensor([0, 2, 1, 0, 3, 1, 0])
    assert flow(labels, predictions, counts).tolist() == [[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 1, 1]]
    assert confusions(labels, predictions) == [(0, 2, 1), (2, 0, 1), (2, 3, 1), (3, 1, 1)]
    assert pairs([(2, 0, 5), (0, 2, 1), (1, 3, 4)]) == [(2, 0, 5, 1), (1, 3, 4, 0)]


def test_the_matrix_is_in_order_and_shaded_by_share() -> None:
    found = charts.matrix(torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 0, 0, 1, 1]), [1, 0])
    assert found.tolist() == [[1, 0], [1, 3]]
    bars = charts.heat(found, ["b", "a"]).bars
    assert [bar.note for bar in bars] == ["b recognised: 1 of 1", "a taken for b: 1 of 4", "a recognised: 3 of 4"]
    assert [bar.opacity for bar in bars] == [1.0, 0.34, 0.78]
    plot = charts.heat(found, ["b", "a"])
    assert [name for _, name in plot.over] == [name for _, name in plot.upwards] == ["b", "a"]
    assert all(bar.x < at < bar.x + bar.width for (at, _), bar in zip(plot.over, (bars[0], bars[2]), strict=True))
    first, second = bars[0].x, bars[2].x
    assert first < second
    assert [bar.x for bar in bars] == [first, first, second]
    assert bars[0].y < bars[1].y == bars[2].y


def test_the_map_takes_as_many_of_every_group_and_is_the_same_again() -> None:
    labels, counts = torch.tensor([0] * 500 + [1] * 20 + [2] * 500 + [IGNORE] * 9), torch.tensor([300, 50, 5])
    chosen = spread_over_groups(labels, counts, limit=100)
    assert torch.equal(chosen, spread_over_groups(labels, counts, limit=100))
    assert torch.bincount(labels[chosen]).tolist() == [40, 20, 40]
    assert (chosen.diff() > 0).all()


def test_features_become_places() -> None:
    centres = torch.eye(3, 8).repeat_interleave(40, 0) * 20
    where, how = flat(centres + torch.randn(120, 8, generator=torch.Generator().manual_seed(0)))
    assert how == "t-SNE"
    assert (where.min(), where.max()) == (0, 1)
    middle = where.reshape(3, 40, 2).mean(1)
    within = np.linalg.norm(where.reshape(3, 40, 2) - middle[:, None], axis=2).max()
    assert within < min(np.linalg.norm(middle[i] - middle[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert flat(torch.randn(7, 1))[1] == "principal components"
    assert flat(torch.ones(200, 3))[1] == "principal components"  # all the same
    assert flat(torch.full((5, 3), float("nan")))[0].tolist() == [[0.5, 0.5]] * 5


def test_evidence_is_what_the_model_says() -> None:
    from tiny import Images, batch

    model, labels = Images(3).double().eval(), torch.arange(11) % 3
    torch.set_default_dtype(torch.float64)
    try:
        parts = [batch("images", 2, labels[a:b], seed=a, first=a) for a, b in ((0, 4), (4, 8), (8, 11))]
    finally:
        torch.set_default_dtype(torch.float32)
    listed = labels.clone()
    listed[[1, 6, 9]] = IGNORE  # such an image has no place in the map
    _, found = gather(model, parts, _split(listed), torch.tensor([300, 50, 5]), None, lambda logits: logits.log_softmax(-1))
    whole = model(torch.cat([part.views[:1] for part in parts], 1))
    assert torch.equal(found.predictions, whole.logits[0].argmax(-1))
    assert found.mapped.tolist() == [0, 2, 3, 4, 5, 7, 8, 10]
    assert torch.allclose(found.features, whole.features[0, found.mapped].float())


def _split(labels: torch.Tensor) -> Split:
    return Split(Stacked(torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8)), labels)


def test_thumbnails_are_small_and_wrong_answers_come_first() -> None:
    _, evidence = judged(COUNTS, side=300)
    names = [f"class {c}" for c in range(6)]
    one = gallery.thumbnail(evidence, 0, names)
    assert (one.width, one.height, one.coarse) == (96, 96, False)
    shelf = gallery.of_class(evidence, 5, "title", names)
    rights = [thumb.right for thumb in shelf.thumbnails]
    assert rights == sorted(rights)
    i = int((evidence.shipped != evidence.predictions).nonzero()[0])
    said = gallery.thumbnail(evidence, i, names).caption
    own, told = (names[int(column[i])] for column in (evidence.predictions, evidence.shipped))
    assert said == f"{own} (predict: {told}, {percent(float(evidence.sure[i]))} %)"
    assert one.caption == f"{names[int(evidence.shipped[0])]}, {percent(float(evidence.sure[0]))} %"
    small = gallery.thumbnail(judged(COUNTS)[1], 0, names)
    assert (small.width, small.coarse) == (96, True)
    there = next(pair for pair in pairs(confusions(evidence.labels, evidence.predictions)) if pair[3])
    shelf = gallery.of_pair(evidence, there, names)
    assert f"class {there[0]} taken for class {there[1]}" in shelf.title
    assert not all(thumb.right for thumb in shelf.thumbnails)


def warned(block: dict[str, Any], *more: Any, **changes: Any) -> str:
    return " ".join(words.warnings({**block, **changes}, *more))


def test_warnings_say_what_the_figures_show() -> None:
    block, evidence = judged(torch.tensor([300, 150, 60, 30, 10, 3]), each=40)
    assert warned(block) == ""
    rows = block["per_class"]
    assert "Half of the classes have at most 8 test images" in warned(judged(COUNTS)[0])
    assert "Without a test image: 1 class (class 5)" in warned(
        block, per_class=[*rows[:5], {**rows[5], "recall": None, "test": 0}]
    )
    assert "Without a training image" in warned(block, per_class=[*rows[:5], {**rows[5], "train": 0}])
    assert "Never recognised on the test images: 1 class (class 5)" in warned(
        block, per_class=[*rows[:5], {**rows[5], "recall": 0.0}]
    )
    assert "skewed as well (from 40 to 400 images" in warned(block, per_class=[{**rows[0], "test": 400}, *rows[1:]])
    assert "hardly better than guessing" in warned(block, balanced=0.2)
    assert "adjusted to equally frequent ones, balanced accuracy would be 90.0 %" in warned(block, post_hoc={"balanced": 0.9})
    assert "learnt by heart" in warned(block, gap={"few": 0.5})
    assert warned(block, evidence._replace(confidence=evidence.confidence * 0 + 0.99)) == warned(block, evidence)
    said = warned(block, evidence._replace(sure=evidence.sure * 0 + 0.99))
    assert "The probabilities of tailwise predict are too high on few-shot classes: 99.0 % on average" in said
    assert "hold out more images for their calibration (a larger --data.validation)" in said
    assert "too high" not in warned(block, evidence._replace(shipped=evidence.labels, sure=evidence.sure * 0 + 0.99))
    single, found = judged(COUNTS, each=1)
    assert "too high on few-shot" not in warned(single, found._replace(sure=found.sure * 0 + 0.45))  # of two images
    few = evidence.labels >= 4
    taken = torch.where(few & (evidence.predictions != evidence.labels), 0, evidence.predictions)
    assert "Rare classes are taken for frequent ones: 100.0 %" in warned(block, evidence._replace(predictions=taken))
    assert "still rising" in warned(block, None, LOG)
    fallen = {"epoch": 3, "balanced": 0.9}
    assert "epoch 3 was better than the last by 40.0 points" in warned(block, None, LOG, best_epoch=fallen)


def test_the_luck_of_a_test_set() -> None:
    rows = [{"recall": 0.5, "test": 100}] * 4
    assert words.chance({"per_class": rows}) == pytest.approx(1.96 * 0.05 / 2, rel=1e-6)
    assert words.chance({"per_class": [{"recall": 1.0, "test": 1}]}) > 0.5


def test_runs_are_compared_with_their_spread_and_seed_by_seed() -> None:
    runs = {
        "CE <b>": [run_of(0, 0.5), run_of(1, 0.6), run_of(2, 0.7)],
        "GML": [run_of(1, 0.65), run_of(2, 0.77), run_of(5, 0.1)],
    }
    text = comparison(runs)
    found = Page(text)
    assert "<b>" not in text
    assert not re.search(r"https?://|url\(", text)
    assert cells(text, "seconds")[0][1:4] == ["3", "60.0 ± 10.0", "70.0 ± 10.0"]
    assert cells(text, "shared seeds") == [["GML", "2", "+6.0 ± 1.4", "+6.0 ± 1.4", "+6.0 ± 1.4", "n/a"]]
    assert len(found.all("svg")) == 3  # nothing is drawn of a group without classes
    plot = paired(runs, lambda run: run["balanced"], "all")
    assert plot is not None
    assert [dot.note for dot in plot.dots][3] == "GML, seed 1: all 65.0 %"
    assert [len(line.points) for line in plot.lines] == [1, 2, 2, 1]
    assert "ran once" in comparison({"CE": [run_of(0, 0.5)], "GML": [run_of(0, 0.5)]})
    apart = {"CE": [run_of(0, 0.5, data="digits"), run_of(1, 0.5, data="digits")], "GML": [run_of(0, 0.7, data="photos")]}
    text = comparison(apart)
    assert "These runs were judged on different data" in text
    assert [text.index("Data: digits") < text.index("Data: photos"), "Seed by seed" in text] == [True, False]
    with pytest.raises(TailwiseError, match="compare them apart"):
        comparison({"CE": [run_of(0, 0.5)], "pixels": [{"miou": 0.5}]})


def test_the_number_at_the_end_of_an_axis_is_inside_and_marks_are_clear_of_the_side() -> None:
    plot = paired({"CE": [run_of(0, 0.0), run_of(1, 1.0)]}, lambda run: run["balanced"], "all")
    assert plot is not None
    assert max(at for at, _ in plot.across) + 20 <= plot.width
    assert min(dot.x for dot in plot.dots) >= plot.left + 5
    assert [name for _, name in plot.rows] == ["CE"]


def test_reliability_is_of_what_users_are_told() -> None:
    block, evidence = judged(COUNTS)
    text = image_report(block, evidence)
    assert f"all classes, 48 images: ECE {percent(block['shipped']['ece']['all'])}<" in text
    assert f"few-shot, 16 images: ECE {percent(block['shipped']['ece']['few'])}<" in text
    counted = [int(n) for n in re.findall(r'<text class="count"[^>]*>(\d+)</text>', text)]
    assert sum(counted) == 2 * 48  # of all classes and of the groups
    said = " ".join(Page(text).words)
    assert f"balanced accuracy {percent(block['shipped']['balanced'])} %, and its probabilities are" in said


def test_an_older_result_without_what_is_shipped() -> None:
    block, evidence = judged(COUNTS)
    del block["shipped"]
    text = image_report({**block, "post_hoc": {"balanced": 0.9, "many": 0.9, "medium": 0.9, "few": 0.9}}, evidence)
    assert cells(text, "ECE")[0][1:4] == [percent(block["balanced"]), percent(block["ece"]["all"]), "90.0"]
    assert "predict: recall" not in text


def test_classes_without_a_test_image_are_named_where_pictures_stand() -> None:
    block, evidence = judged(COUNTS)
    block["per_class"][5] |= {"test": 0, "recall": None}
    text = image_report(block, evidence._replace(labels=evidence.labels.clamp(max=4)))
    assert "(pages show test images, never training images): class 5 (3 training images)." in text


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["fit", "digits", "--objective", "CrossEntropy", *TINY, "--out", str(out)]) == 0
    return out


def test_a_fit_leaves_its_page_and_the_command_copies_it(tmp_path: Path, run: Path, capsys: Capture) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    rows = {row[0]: row[1] for row in cells(text, "test images")}
    assert rows == {row["name"]: percent(row["recall"]) for row in Run(run).result["per_class"]}
    assert "Pairs that are confused" in text
    assert Run(run).manifest["data"]["sha256"] in text
    assert main(["report", str(run), "--html", str(tmp_path / "new" / "page.html")]) == 0
    assert capsys.readouterr().out == f"page: {tmp_path / 'new' / 'page.html'}\n"
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == text
    (run / "report.html").unlink()
    assert main(["report", str(run), "--html", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text
    assert "is a folder; name a file" in refused(capsys, "report", str(run), "--html", str(tmp_path))


def test_text_prints_what_it_takes_to_repeat_a_run(run: Path, capsys: Capture) -> None:
    assert main(["report", str(run), "--text"]) == 0
    out, manifest = capsys.readouterr().out, Run(run).manifest
    assert "balanced accuracy" in out
    for fact in (
        manifest["command"],
        manifest["data"]["sha256"],
        f"torch {manifest['versions']['torch']}",
        manifest["hardware"]["cpu"],
    ):
        assert fact in out
    assert out.rstrip().endswith(Run(run).recipe_text.rstrip())
    assert re.search(r"^seed +0$", out, re.M)


def test_a_page_that_cannot_be_drawn_loses_no_run(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no ink")

    monkeypatch.setattr(images, "write", broken)
    before = (run / "result.json").read_bytes()
    assert main(["evaluate", str(run)]) == 0
    assert (
        f"could not be drawn (no ink); the result is whole; draw it again with `tailwise evaluate {run}`"
        in capsys.readouterr().err
    )
    assert (run / "result.json").read_bytes() == before
