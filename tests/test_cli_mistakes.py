"""Every mistake in the data or the options: one line on standard error, exit code 2, nothing in the way afterwards."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import OWN, QUIET, TINY, Capture, photos, picture, refused

from tailwise.cli import main


def missing_path(root: Path) -> list[str]:
    photos(root / "photos")
    return [str(root / "photoss")]


def empty_folder(root: Path) -> list[str]:
    return [str(root)]


def folder_of_empty_classes(root: Path) -> list[str]:
    (root / "a").mkdir()
    (root / "b").mkdir()
    return [str(root)]


def one_class(root: Path) -> list[str]:
    return [str(photos(root, classes="a"))]


def strange_file(root: Path) -> list[str]:
    (root / "data.zip").write_bytes(b"PK")
    return [str(root / "data.zip")]


def unknown_in_test(root: Path) -> list[str]:
    photos(root / "train")
    photos(root / "test", 2, "abc", first=500)
    return [str(root)]


def csv_file(root: Path, header: str, labels: list[str]) -> list[str]:
    rows = [f"{picture(root / f'{i}.png', i).name},{label}" for i, label in enumerate(labels)]
    (root / "d.csv").write_text("\n".join([header, *rows]) + "\n")
    return [str(root / "d.csv")]


def csv_without_columns(root: Path) -> list[str]:
    return csv_file(root, "file,class", ["0", "1"])


def csv_negative(root: Path) -> list[str]:
    return csv_file(root, "path,label", ["0", "1", "-1"])


def csv_out_of_range(root: Path) -> list[str]:
    return csv_file(root, "path,label", ["0", "1", "0", "7"])


def csv_not_a_number(root: Path) -> list[str]:
    return csv_file(root, "path,label", ["0", "1", "cat"])


def listing_without_label(root: Path) -> list[str]:
    picture(root / "0.png", 0)
    (root / "d.txt").write_text("0.png\n")
    return [str(root / "d.txt")]


def classes_too_small(root: Path) -> list[str]:
    return [str(photos(root, per_class=1))]


def truncated(root: Path) -> list[str]:
    photos(root)
    file = picture(root / "a" / "large.png", 7, (60, 60))
    file.write_bytes(file.read_bytes()[:2000])
    return [str(root)]


def not_an_image(root: Path) -> list[str]:
    photos(root)
    (root / "a" / "notes.png").write_text("milk, eggs")
    return [str(root)]


def duplicate(root: Path) -> list[str]:
    photos(root)
    shutil.copy(root / "a" / "0.png", root / "b" / "copy.png")
    return [str(root)]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (missing_path, "no such data"),
        (missing_path, "did you mean"),
        (empty_folder, "no class folders in it"),
        (folder_of_empty_classes, "no images in the class folders"),
        (one_class, "fewer than two classes have training images"),
        (strange_file, "not a folder, a .parquet, a .txt listing or a .csv"),
        (unknown_in_test, "class 'c' is in test but not in train"),
        (csv_without_columns, "no column path and no label; its columns are file, class"),
        (csv_negative, "line 4: negative label -1"),
        (csv_out_of_range, "line 5: label 7 is out of range"),
        (csv_not_a_number, "line 4: label 'cat' is not a number"),
        (listing_without_label, "line 1: no label"),
        (classes_too_small, "nothing can be held out for the test"),
        (truncated, "1 of 17 images are bad, at most 1% may be"),
        (truncated, "large.png (truncated)"),
        (not_an_image, "notes.png (not an image)"),
        (duplicate, "duplicate with another label"),
    ],
)
def test_data_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, capsys: Capture, make: Callable[[Path], list[str]], expected: str
) -> None:
    (tmp_path / "d").mkdir()
    line = refused(capsys, "fit", *make(tmp_path / "d"), *OWN, "--out", str(tmp_path / "run"))
    assert expected in line
    assert not (tmp_path / "run" / "recipe.yaml").exists()  # so that the next try finds its folder free


def test_a_few_bad_images_are_skipped_listed_and_refused_when_strict(tmp_path: Path, capsys: Capture) -> None:
    source, out = photos(tmp_path / "d", per_class=60), tmp_path / "run"
    (source / "a" / "notes.png").write_text("milk, eggs")
    words = ["fit", str(source), *OWN, "--out", str(out)]
    assert "1 of 121 images are bad, none is allowed with strict" in refused(capsys, *words, "--strict")
    assert main(words) == 0  # the folder of the refused try is not in the way
    with (out / "data_issues.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(Path(row["path"]).name, row["split"], row["problem"]) for row in rows] == [("notes.png", "train", "not an image")]
    assert '"skipped": 1' in (out / "manifest.json").read_text()


def test_a_refusal_for_bad_images_leaves_their_list_and_a_free_folder(tmp_path: Path, capsys: Capture) -> None:
    source, out = not_an_image(tmp_path / "d"), tmp_path / "run"
    line = refused(capsys, "fit", *source, *OWN, "--out", str(out))
    assert f"the list is in {out / 'data_issues.csv'}" in line
    assert "notes.png" in (out / "data_issues.csv").read_text()
    (tmp_path / "d" / "a" / "notes.png").unlink()
    assert main(["fit", *source, *OWN, "--out", str(out)]) == 0
    assert not (out / "data_issues.csv").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--imbalance-factor", "0.5"], "imbalance factor: must be at least 1"),
        (["--imbalance-factor", "much"], "data.imbalance_factor must be a number, got 'much'"),
        (["--imbalance-factor", "nan"], "must be a number, got 'nan'"),
        (["--imbalance-factor", "10", "--data.largest", "5000"], "5000 are wanted; ask for fewer images"),
        (["--objective", "LogitAdjust"], "no objective 'LogitAdjust'; did you mean LogitAdjusted?"),
        (["--objective", "LogitAdjusted", "--objective.taw", "1"], "did you mean tau?"),
        (["--objective", "GML", "--objective.queue_size", "19"], "19 slots cannot hold 10 classes x 2; ask for at least 20"),
        (["--optim.lrr", "1"], "no option 'optim.lrr'; did you mean optim.lr?"),
        (["--epoch", "1"], "did you mean epochs?"),
        (["--epochs", "few"], "epochs must be a whole number, got 'few'"),
        (["--epochs", "0"], "model.start_from must name a trained run"),
        (["--recipe", "digits_lt/gmll"], "did you mean digits_lt/gml?"),
        (["photos"], "unexpected 'photos'; one source only"),
        (["--out"], "fit: argument --out: expected one argument"),
        (["--model.backbone", "resnet7"], "did you mean resnet8?"),
        (["--data.views", "[plane]"], "did you mean plain?"),
        (["--data.views", "[{imagenet_randaugment: {magnitude: 40}}]"], "view imagenet_randaugment: magnitude must be"),
        (["--data.views", "[{crop_flip: {pad: x}}]"], "view crop_flip: pad must be a whole number of at least 0, got 'x'"),
        (["--data.views", "[{simaugment: null}]"], "unknown; did you mean simaugment?"),
        (["--engine.compile", "maybe"], "engine.compile must be one of true, false, graphs, got 'maybe'"),
        (["--objective", "GML", "--objective.projection", "Refesh"], "no projection 'Refesh'; did you mean Refresh?"),
        (["--engine.accelerator", "abacus"], "abacus"),
        (["--engine.check_every", "0"], "engine.check_every must be at least 1"),
        (["--optim.lr", "-1"], "optim.lr must be at least 0"),
        (["--resume", "somewhere"], "leave the other options out"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(tmp_path: Path, capsys: Capture, words: list[str], expected: str) -> None:
    assert expected in refused(capsys, "fit", "digits", *QUIET, "--out", str(tmp_path / "run"), *words)


def test_an_unknown_command_names_the_nearest(capsys: Capture) -> None:
    assert "no command 'evalute'; did you mean evaluate?" in refused(capsys, "evalute", "runs/a")
    assert "see tailwise --help" in refused(capsys, "zzz")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--data.views", "[foo]"], "view foo: unknown"),
        (["--engine.accelerator", "tpuu"], "engine: "),
        (["--objective", "GML", "--objective.queue_size", "5"], "queue: 5 slots cannot hold"),
        (["--objective", "GML", "--objective.temperature", "-1"], "temperature must be positive"),
        (["--objective", "BCL", "--objective.temperature", "0"], "temperature must be positive"),
        (["--objective.tau", "-3"], "tau must not be negative"),
        (["--recipe", "digits_lt/gml", "--objective.queue_size", "5"], "queue: 5 slots cannot hold"),
    ],
)
def test_a_wrong_option_costs_no_older_run(tmp_path: Path, capsys: Capture, wrong: list[str], said: str) -> None:
    run = tmp_path / "run"
    assert main(["fit", "digits", "--objective", "LogitAdjusted", "--out", str(run), *TINY]) == 0
    capsys.readouterr()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    objective = [] if "--objective" in wrong or "--recipe" in wrong else ["--objective", "LogitAdjusted"]
    assert said in refused(capsys, "fit", "digits", *objective, "--out", str(run), "--overwrite", *TINY, *wrong)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_nothing_to_train_on_is_said(capsys: Capture, tmp_path: Path) -> None:
    assert "nothing to train on" in refused(capsys, "fit", "--out", str(tmp_path / "run"))
