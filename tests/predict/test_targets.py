"""Class shares: fixed ones, a file's, estimated ones; a file that cannot be used is one line."""

from pathlib import Path

import pytest
import torch

from tailwise.conformal import HeldOut
from tailwise.predict import targets
from tailwise.predict.targets import estimated, fixed, positives, readable_part
from tailwise.types import TailwiseError

NAMES = ("cat", "dog", "fox")


def test_fixed_shares() -> None:
    counts = torch.tensor([6, 3, 1])
    assert fixed("uniform", NAMES, counts).shares[""].tolist() == pytest.approx([1 / 3] * 3)
    assert fixed("train", NAMES, counts).shares[""].tolist() == pytest.approx([0.6, 0.3, 0.1])
    lacking = torch.tensor([6, 3, 0])
    assert fixed("uniform", NAMES, lacking).shares[""].tolist() == [0.5, 0.5, 0]
    assert fixed("train", NAMES, lacking).shares[""].tolist() == pytest.approx([2 / 3, 1 / 3, 0])


def test_a_files_shares_are_normalised(tmp_path: Path) -> None:
    path = tmp_path / "prior.csv"
    path.write_text("\ufeffclass,share,note\ndog,30,\ncat,1e1,seen\nfox,0,\n")
    target = fixed(str(path), NAMES, torch.tensor([1, 1, 1]))
    assert target.shares[""].tolist() == [0.25, 0.75, 0]
    assert target.about == {"kind": str(path), "shares": {"cat": 0.25, "dog": 0.75, "fox": 0}}


def test_shares_of_several_labels_are_probabilities(tmp_path: Path) -> None:
    counts, path = torch.tensor([5, 10, 0]), tmp_path / "prior.csv"
    assert positives("uniform", NAMES, counts, 10).shares[""].tolist() == [0.5, 0.5, 0]
    train = positives("train", NAMES, counts, 10)
    assert train.shares[""].tolist() == pytest.approx([0.5, 10 / 11, 0])  # never certain: one without it is added
    assert train.about == {"kind": "train", "shares": {"cat": 0.5, "dog": 0.909091, "fox": 0}}
    path.write_text("class,share\ncat,1\ndog,0.75\nfox,0.5\n")
    assert positives(str(path), NAMES, counts, 10).shares[""].tolist() == [1, 0.75, 0]


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ("class,share\ncat,0.5\ndog,1.5\nfox,0\n", "line 3: share '1.5' is not a probability in \\[0, 1\\] of the class"),
        ("class,share\ncat,-0.1\ndog,1\nfox,0\n", "line 2: share '-0.1' is not a probability"),
        ("class,share\ncat,nan\ndog,1\nfox,0\n", "share 'nan' is not a probability"),
        ("class,share\ncat,0\ndog,0\nfox,1\n", "every class that has a share there was absent from training"),
    ],
)
def test_other_numbers_are_no_probabilities(tmp_path: Path, prior: str, said: str) -> None:
    path = tmp_path / "prior.csv"
    path.write_text(prior)
    with pytest.raises(TailwiseError, match=said) as refusal:
        positives(str(path), NAMES, torch.tensor([5, 10, 0]), 10)
    assert len(str(refusal.value).splitlines()) == 1
    with pytest.raises(TailwiseError, match="--prior estimate: not a file, nor uniform or train"):
        positives("estimate", NAMES, torch.tensor([5, 10, 0]), 10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class,count\ncat,1\n", "needs the columns class and share, has class, count"),
        ("", "needs the columns class and share"),
        ("class,share\ncat,1\ndgo,1\n", "line 3: class 'dgo': did you mean 'dog'"),
        ("class,share\nzebra,1\n", "line 2: class 'zebra': no such class"),
        ("class,share\ncat,1\ncat,1\n", "it is there twice"),
        ("class,share\ncat,1\n", "no share of 2 classes, the first is 'dog'"),
        ("class,share\ncat,-1\n", "share '-1' is not a number of at least 0"),
        ("class,share\ncat,nan\n", "share 'nan' is not"),
        ("class,share\ncat,inf\n", "share 'inf' is not"),
        ("class,share\ncat\n", "share None is not"),
        ("class,share\ncat,0\ndog,0\nfox,0\n", "all shares are 0"),
        ("class,share\ncat,0\ndog,0\nfox,1\n", "every class that has a share there was absent from training"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "prior.csv"
    path.write_text(text)
    with pytest.raises(TailwiseError, match=said) as refusal:
        fixed(str(path), NAMES, torch.tensor([5, 5, 0]))
    assert len(str(refusal.value).splitlines()) == 1
    path.write_bytes(b"class,share\n\xff,1\n")
    with pytest.raises(TailwiseError, match="cannot be read as CSV in UTF-8"):
        fixed(str(path), NAMES, torch.tensor([5, 5, 5]))


def test_rows_of_unread_images_and_too_many_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.zeros(10, 2)
    logits[3] = torch.nan
    assert readable_part(logits).tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    monkeypatch.setattr(targets, "IMAGES", 4)
    part = readable_part(logits).tolist()
    assert len(set(part)) == 4
    assert 3 not in part
    assert part == sorted(part) == readable_part(logits).tolist()


def test_few_images_decide_little_and_a_group_leans_on_all() -> None:
    logits = torch.tensor([[30.0, 0, 0]] * 60 + [[0, 30.0, 0]] * 2).double()
    predictions, groups = logits.argmax(1), ["north"] * 60 + ["south"] * 2
    held = HeldOut(torch.arange(60) % 3, torch.arange(60) % 3, torch.zeros(60), torch.zeros(60))
    found = estimated(logits, predictions, groups, held, NAMES)
    added = 62 * 0.1
    everyone = [(n + added / 3) / (62 + added) for n in (60, 2, 0)]
    assert found.shares[""].tolist() == pytest.approx(everyone, abs=1e-4)
    south = [(n + 3 * share) / 5 for n, share in zip((0, 2, 0), everyone, strict=True)]  # 3 classes > 0.1 · 2 images
    assert found.shares["south"].tolist() == pytest.approx(south, abs=1e-4)
    assert found.about["bbse"]["cat"]["share"] == pytest.approx(60 / 62, abs=0.03)
    for row in (*found.about["shares"].values(), *found.about["bbse"].values()):
        assert row["low"] <= row["share"] + 1e-3
        assert row["share"] - 1e-3 <= row["high"]
    assert found.about["groups"]["south"]["images"] == 2
    single = estimated(logits[:60], predictions[:60], groups[:60], None, NAMES)
    assert set(single.shares) == {""}
    assert not {"bbse", "groups"} & set(single.about)
