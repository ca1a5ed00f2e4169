"""Tables of a multi-label run, a real one though untrained: labels, probabilities under a prior, what is refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from predict.colours import coloured
from predict.test_tables import read

from tailwise.cli import main
from tailwise.data.augment.read import Whole
from tailwise.data.source import Encoded
from tailwise.data.views import IMAGENET
from tailwise.models import Network, Saved, save
from tailwise.predict import classify
from tailwise.types import TailwiseError

NAMES = ["lion", "=zebra", "oryx", "grass, tall", "aardwolf"]
COUNTS, SAMPLES = [60, 20, 5, 45, 0], 100
CARRIED = [-1.0, 1.0, -4.0, -1.0, 6.0]


def trained(folder: Path, carried: list[float]) -> Path:
    """A finished run's model, untrained, whose logits are some units apart."""
    torch.manual_seed(0)
    network = Network("resnet8", len(NAMES)).eval()
    with torch.no_grad():
        for weights in network.classifier.parameters():
            weights.normal_(0, 0.5)
    about = {
        "task": "multilabel",
        "classes": NAMES,
        "image_size": 8,
        "normalisation": {"mean": IMAGENET.mean, "std": IMAGENET.std},
        "train_counts": COUNTS,
        "train_samples": SAMPLES,
        "carried_log_prior": carried,
    }
    save(network, folder, about)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "savanna", CARRIED)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of many colours, and one that nobody can read."""
    root = tmp_path_factory.mktemp("photos")
    for i in range(12):
        coloured(root / f"{i:02}.png", 20 * i, 255 - 20 * i, 60 * (i % 4), seed=i)
    (root / "torn.png").write_bytes(b"no image")
    return root


def scores(run: Path, photos: Path) -> list[list[float]]:
    """The run's logits on the images that can be read."""
    images = Whole(8)(Encoded(sorted(photos.glob("[0-9]*.png"))), torch.arange(12), torch.zeros(0, 12))
    with torch.no_grad():
        return Saved(run).eval()(IMAGENET(images)[None]).at_labels().double().tolist()


def wanted(run: Path, photos: Path, odds: list[float], carried: list[float] = CARRIED) -> list[list[float]]:
    """Probabilities as plain loops say them; the last class was absent from training."""
    found = []
    for logits in scores(run, photos):
        shifted = [f - a + b for f, a, b in zip(logits, carried, odds, strict=True)]
        found.append([1 / (1 + math.exp(-g)) for g in shifted[:-1]] + [0.0])
    return found


def log_odds(shares: list[float]) -> list[float]:
    return [math.log(share / (1 - share)) for share in shares]


TRAIN = log_odds([0.6, 0.2, 0.05, 0.45, 0.5])  # the last is of a class that is never predicted


def check(rows: list[dict[str, Any]], probabilities: list[list[float]]) -> None:
    """The labels are the classes from one half on, the likeliest first."""
    for row, shares in zip(rows, probabilities, strict=True):
        ranked = sorted((-share, c) for c, share in enumerate(shares) if share >= 0.5)
        assert row["labels"] == [NAMES[c] for _, c in ranked]
        assert row["probabilities"] == pytest.approx([-share for share, _ in ranked], abs=2e-6)


def test_a_folder_becomes_a_table_of_labels(run: Path, photos: Path, tmp_path: Path) -> None:
    done = classify(run, [photos], tmp_path / "out.jsonl", batch=5)
    assert (done.images, [path.name for path, _ in done.skipped]) == (12, ["torn.png"])
    assert done.summary == "under the prior of training; not calibrated"
    rows = read(tmp_path / "out.jsonl")
    assert list(rows[0]) == ["path", "labels", "probabilities"]
    assert [Path(row["path"]).name for row in rows] == [f"{i:02}.png" for i in range(12)]
    check(rows, wanted(run, photos, TRAIN))
    assert len({len(row["labels"]) for row in rows}) >= 3  # images with few labels and with many, or this shows little
    about = json.loads((tmp_path / "out.jsonl.about.json").read_text())
    assert about["prior"]["kind"] == "train"
    assert about["prior"]["shares"] == pytest.approx(dict(zip(NAMES, [0.6, 0.2, 0.05, 0.45, 0], strict=True)), abs=1e-6)
    assert about["columns"] == ["path", "labels", "probabilities"]
    assert about["label_from_probability"] == 0.5
    assert about["calibration"].startswith("none")


def test_what_the_logits_carry_is_the_prior_of_training_of_plain_cross_entropy(tmp_path: Path, photos: Path) -> None:
    run = trained(tmp_path / "run", TRAIN)
    classify(run, [photos], tmp_path / "out.jsonl")
    check(read(tmp_path / "out.jsonl"), wanted(run, photos, [0.0] * 5, [0.0] * 5))  # nothing to add, nothing to take away


def test_other_priors(run: Path, photos: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out.jsonl", tmp_path / "prior.csv"
    done = classify(run, [photos], out, prior="uniform")
    assert done.summary == "under a uniform prior (every class in half of the images); not calibrated"
    check(read(out), wanted(run, photos, [0.0] * 5))
    file.write_text('class,share\nlion,0.9\n=zebra,0.8\noryx,0.7\n"grass, tall",0.01\naardwolf,1\n')  # more than one in sum
    done = classify(run, [photos], out, prior=file, overwrite=True)
    assert done.summary == f"under the prior of {file}; not calibrated"
    check(read(out), wanted(run, photos, log_odds([0.9, 0.8, 0.7, 0.01, 0.5])))
    file.write_text('class,share\nlion,0\n=zebra,1\noryx,0.7\n"grass, tall",0.01\naardwolf,1\n')
    classify(run, [photos], out, prior=file, overwrite=True)
    for row in read(out):
        assert "lion" not in row["labels"]
        assert dict(zip(row["labels"], row["probabilities"], strict=True))["=zebra"] == 1


@pytest.mark.parametrize("top", [2, 9])
def test_the_likeliest_are_there_whatever_their_probability(run: Path, photos: Path, tmp_path: Path, top: int) -> None:
    classify(run, [photos], tmp_path / "out.jsonl", top=top)
    rows, columns = read(tmp_path / "out.jsonl"), ["class", "class_2", "class_3", "class_4", "class_5"][:top]
    pairs = [name for column in columns for name in (column, column.replace("class", "probability"))]
    assert list(rows[0]) == ["path", "labels", "probabilities", *pairs]
    for row, shares in zip(rows, wanted(run, photos, TRAIN), strict=True):
        ranked = sorted(((share, name) for share, name in zip(shares, NAMES, strict=True)), reverse=True)
        assert [row[column] for column in columns] == [name for _, name in ranked][:top]
        found = [row[column.replace("class", "probability")] for column in columns]
        assert found == pytest.approx([share for share, _ in ranked][:top], abs=2e-6)
    assert min(row["probability_2"] for row in rows) < 0.5


def test_the_formats_agree(run: Path, photos: Path, tmp_path: Path) -> None:
    tables = []
    for suffix in (".csv", ".jsonl", ".parquet"):
        classify(run, [photos], tmp_path / f"out{suffix}", top=1)
        tables.append(read(tmp_path / f"out{suffix}"))
    assert tables[1] == tables[2]
    assert [row | {"class": row["class"].removeprefix("'")} for row in tables[0]] == tables[1]
    assert any(not row["labels"] for row in tables[1])  # a list without elements is one in every format


def test_a_killed_job_goes_on_under_another_prior(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut, seen = tmp_path / "whole.csv", tmp_path / "cut.csv", []
    forward = Saved.forward

    def until_the_third(model: Saved, views: torch.Tensor) -> Any:
        seen.append(views.shape[1])
        if len(seen) == 3:
            raise KeyboardInterrupt
        return forward(model, views)

    classify(run, [photos], whole, prior="uniform", batch=4)
    monkeypatch.setattr(Saved, "forward", until_the_third)
    with pytest.raises(KeyboardInterrupt, match="8 of 13 images are done; the same command goes on"):
        classify(run, [photos], cut, batch=4)
    classify(run, [photos], cut, prior="uniform", batch=4)
    assert seen == [4, 4, 4, 4]  # nothing is looked at twice; nobody can read the thirteenth
    for end in (".csv", ".csv.about.json", ".csv.skipped.csv"):
        assert (tmp_path / f"whole{end}").read_bytes() == (tmp_path / f"cut{end}").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--per-group"], "--per-group is for runs of one class per image; RUN is multi-label, leave it out"),
        (["--sets"], "--sets is for runs of one class per image; RUN is multi-label, leave it out"),
        (["--abstain"], "--abstain is for runs of one class per image; RUN is multi-label, leave it out"),
        (
            ["--prior", "estimate"],
            "--prior estimate is for runs of one class per image; RUN is multi-label, give train, uniform or a CSV file",
        ),
        (["--prior", "trian"], "--prior trian: not a file, nor uniform or train; give one of these"),
        (["--top", "0"], "top and batch must be at least 1, got 0"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_what_such_a_run_cannot_do_is_one_line(
    run: Path, photos: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run), str(photos), "--out", str(tmp_path / "out.csv"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(said.replace("RUN", str(run)))
    assert not list(tmp_path.iterdir())


def test_a_run_that_says_too_little_is_refused(run: Path, photos: Path, tmp_path: Path) -> None:
    about = json.loads((run / "model.json").read_text())
    for change, said in (
        ({"train_samples": None}, r"says nothing about train_samples; train the run again"),
        ({"task": "tags"}, r"says the task 'tags'; this version knows images, multilabel"),
    ):
        save(Network("resnet8", 5), tmp_path / "run", {k: v for k, v in (about | change).items() if v and k != "network"})
        with pytest.raises(TailwiseError, match=said):
            classify(tmp_path / "run", [photos], tmp_path / "out.csv")
