"""Class shares: fixed ones, a file's, estimated ones; a file that cannot be used is one line."""

from pathlib import Path

import pytest
import torch

from tailwise.conformal import HeldOut
from tailwise.predict import targets
from tailwise.predict.targets import by_group, estimated, fixed, part, positives
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


def test_of_too_many_images_a_part_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.arange(0, 40, 2)
    assert torch.equal(part(rows, 2), rows)
    assert len(part(rows, 2, 7)) == 7
    monkeypatch.setattr(targets, "NUMBERS", 10)
    few = part(rows, 2).tolist()
    assert len(set(few)) == 5
    assert set(few) < set(rows.tolist())
    assert few == sorted(few) == part(rows, 2).tolist()
    assert len(part(rows, 100)) == 1


def certain(*numbers: int) -> torch.Tensor:
    """Log probabilities of so many images of each class, of which there is no doubt."""
    labels = torch.arange(len(numbers)).repeat_interleave(torch.tensor(numbers))
    return (30.0 * torch.eye(len(numbers))[labels]).log_softmax(1)


def held_out(per_class: int, classes: int = 3) -> HeldOut:
    labels = torch.arange(classes).repeat_interleave(per_class)
    return HeldOut(labels, labels, torch.zeros(len(labels)), torch.zeros(len(labels)))


def test_many_images_that_leave_no_doubt_are_counted() -> None:
    logits = certain(6000, 200, 0)
    found = estimated(logits, logits.argmax(1), held_out(20), NAMES, torch.tensor([10, 20, 30]))
    said = found.about
    assert found.shares[""].tolist() == pytest.approx([6000 / 6200, 200 / 6200, 0], abs=1e-3)
    assert (said["read"], said["count_as"]) == (6200, 6200)
    assert said["bbse"]["cat"]["share"] == pytest.approx(6000 / 6200, abs=0.03)
    assert said["apart"] < 0.05
    assert 0 < said["apart_by_chance"] < 0.1
    dog, fox = said["shares"]["dog"], said["shares"]["fox"]
    assert dog["low"] == pytest.approx(200 / 6200 - 1.96 * (200 * 6000 / 6200**3) ** 0.5, abs=1e-3)
    assert dog["high"] == pytest.approx(200 / 6200 + 1.96 * (200 * 6000 / 6200**3) ** 0.5, abs=1e-3)
    assert fox["low"] == 0
    assert 3 / 6200 < fox["high"] < 5 / 6200  # none in so many
    for table in (said["shares"], said["bbse"]):
        assert all(0 <= row["low"] <= row["high"] <= 1 for row in table.values())
    assert all(row["low"] <= row["share"] <= row["high"] for row in said["shares"].values())


def test_few_images_decide_little_and_a_group_leans_on_all() -> None:
    logits = certain(60, 2, 0)
    everyone = estimated(logits, logits.argmax(1), None, NAMES)
    assert not {"bbse", "apart", "groups"} & set(everyone.about)
    assert everyone.shares[""][0] > 0.8
    found = by_group(everyone, [("north", 60, logits[:60]), ("south", 5, logits[60:])], None, NAMES)
    north, south = found.shares["north"], found.shares["south"]
    assert north[0] > 0.9
    assert everyone.shares[""][1] + 0.1 < south[1] < 0.9
    alone = estimated(logits[60:], logits[60:].argmax(1), None, NAMES).shares[""]
    assert south[0] > alone[0]
    assert {name: (own["images"], own["read"]) for name, own in found.about["groups"].items()} == {
        "north": (60, 60),
        "south": (5, 2),
    }
    assert found.shares[""] is everyone.shares[""]
    assert found.about["shares"] == everyone.about["shares"]


def test_a_class_that_training_lacked_gets_no_share_of_any_estimate() -> None:
    logits = certain(50, 50, 50).double()
    logits[:, 1] = -torch.inf
    kept = torch.cat([logits[:50], logits[100:]]).log_softmax(1)
    held = HeldOut(*(column[held_out(20).labels != 1] for column in held_out(20)))
    found = estimated(kept, kept.argmax(1), held, NAMES, torch.tensor([50, 0, 50]))
    assert found.shares[""].tolist() == pytest.approx([0.5, 0, 0.5], abs=1e-3)
    assert found.about["apart"] < 0.01
    for table in (found.about["shares"], found.about["bbse"]):
        assert table["dog"] == {"share": 0, "low": 0, "high": 0}
    assert by_group(found, [("here", 50, kept[:50])], held, NAMES).shares["here"][1] == 0


def test_few_held_out_samples_widen_the_intervals_of_images_in_doubt() -> None:
    g = torch.Generator().manual_seed(0)
    logits = (1.5 * torch.randn(2000, 3, generator=g)).log_softmax(1)
    widths = []
    for held in (None, held_out(500), held_out(20)):
        said = estimated(logits, logits.argmax(1), held, NAMES).about
        widths.append(sum(row["high"] - row["low"] for row in said["shares"].values()))
        assert (said["count_as"] < 2000) == (held is not None)
    assert widths[0] < widths[1] < widths[2] / 2
