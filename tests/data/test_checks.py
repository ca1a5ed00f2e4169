"""What is skipped, what is refused, and that the list of it is written in either case."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tailwise.data import Encoded, Issue, Source, Stacked
from tailwise.data.checks import Sample, examine, present, write_issues
from tailwise.types import TailwiseError


def encoded(seed: int, size: int = 6, form: str = "PNG") -> bytes:
    """A random square image, another one for each seed."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(out, form)
    return out.getvalue()


def many(n: int, first_seed: int = 0) -> list[Sample]:
    """``n`` good samples of two classes."""
    return [Sample(f"{seed}.png", seed % 2, encoded(seed)) for seed in range(first_seed, first_seed + n)]


GOOD = many(400)


def look(train: list[Sample], **splits: list[Sample]) -> Source:
    return examine("pets", ("cat", "dog"), {"train": train, **splits})


def test_good_samples_pass_untouched() -> None:
    source = look(GOOD[:10], test=GOOD[10:14])
    assert source.issues == ()
    assert source.splits["train"].labels.tolist() == [0, 1] * 5
    assert isinstance(source.splits["train"].images, Stacked)
    for i, sample in enumerate(GOOD[:10]):
        assert isinstance(sample.data, bytes)
        assert np.array_equal(source.splits["train"].images[i], Image.open(io.BytesIO(sample.data)))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "missing"),
        (Path("/nowhere/at/all.png"), "missing"),
        (Path("/"), "not a file"),
        (Path("nul\0.png"), "unreadable"),
        (b"", "empty file"),
        (b"this is a letter, not a picture", "not an image"),
        (encoded(0)[:10], "not an image"),
        (encoded(0, 60)[:-400], "truncated"),
        (encoded(0, 60, "JPEG")[:-400], "truncated"),
        (encoded(0, 200, "JPEG")[:-400], "truncated"),  # large images are read by another path
        (encoded(0, 200)[:-400], "truncated"),
        (encoded(0, 60, "BMP")[:-400], "truncated"),
        (encoded(0, 60, "GIF")[:-400], "truncated"),
        (encoded(0, 60, "WEBP")[:-400], "unreadable"),
    ],
)
def test_bad_samples_are_skipped_and_listed(content: bytes | Path | None, problem: str) -> None:
    source = look([GOOD[0], Sample("bad.png", 1, content), *GOOD[1:200]])
    (issue,) = source.issues
    assert (issue.path, issue.split) == ("bad.png", "train")
    assert issue.problem.startswith(problem)
    assert "\n" not in issue.problem
    assert len(source.splits["train"].images) == 200
    assert source.splits["train"].labels.tolist() == [0, 1] * 100
    assert source.sha256 == look(GOOD[:200]).sha256  # of what is used


def test_copies_in_one_split() -> None:
    """The first copy stays, whatever the later ones are labelled."""
    assert isinstance(GOOD[3].data, bytes)
    source = look([*GOOD[:300], Sample("copy.png", 1, GOOD[3].data), Sample("liar.png", 0, GOOD[3].data)])
    assert source.issues == (
        Issue("copy.png", "train", "duplicate: equals 3.png in train"),
        Issue("liar.png", "train", "duplicate with another label: equals 3.png in train"),
    )
    assert len(source.splits["train"].images) == 300


def test_copies_across_splits_leave_train() -> None:
    train = [*GOOD[:300], *(Sample(f"train/{s.path}", s.label, s.data) for s in (GOOD[300], GOOD[310]))]
    source = look(train, val=[*GOOD[300:310], GOOD[311]], test=GOOD[310:320])
    assert source.issues == (
        Issue("311.png", "val", "duplicate: equals 311.png in test"),
        Issue("train/300.png", "train", "duplicate: equals 300.png in val"),
        Issue("train/310.png", "train", "duplicate: equals 310.png in test"),
    )
    assert {name: len(split.images) for name, split in source.splits.items()} == {"train": 300, "val": 10, "test": 10}


def test_one_in_a_hundred_is_the_limit(tmp_path: Path) -> None:
    bad = [Sample(f"bad{i}.png", 0, b"bad") for i in range(3)]
    listed = tmp_path / "run" / "data_issues.csv"

    def read() -> list[list[str]]:
        with open(listed, newline="", encoding="utf-8") as file:
            return list(csv.reader(file))

    source = examine("pets", ("cat", "dog"), {"train": [*GOOD[:198], *bad[:2]]}, issues_path=listed)
    assert len(source.issues) == 2
    assert read() == [["path", "split", "problem"], *([f"bad{i}.png", "train", "not an image"] for i in range(2))]
    with pytest.raises(TailwiseError) as caught:
        examine("pets", ("cat", "dog"), {"train": [*GOOD[:198], *bad]}, issues_path=listed)
    assert str(caught.value) == (
        f"pets: 3 of 201 images are bad, at most 1% may be; first: bad0.png (not an image); the list is in {listed}"
    )
    assert len(read()) == 4


def test_strict_refuses_at_one() -> None:
    samples = {"train": [*GOOD[:300], Sample("bad.png", 0, b"bad")]}
    assert len(examine("pets", ("cat", "dog"), samples).issues) == 1
    with pytest.raises(TailwiseError, match=r"1 of 301 images are bad, none is allowed with strict; first: bad\.png"):
        examine("pets", ("cat", "dog"), samples, strict=True)
    assert examine("pets", ("cat", "dog"), {"train": GOOD[:300]}, strict=True).issues == ()


def test_no_list_without_issues(tmp_path: Path) -> None:
    examine("pets", ("cat", "dog"), {"train": GOOD[:2]}, issues_path=tmp_path / "data_issues.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_class_must_not_vanish() -> None:
    rare = [Sample("owl.png", 2, b"bad")]
    with pytest.raises(TailwiseError, match="class 'owl' has no usable training image left"):
        examine("pets", ("cat", "dog", "owl"), {"train": [*GOOD[:200], *rare]})
    assert examine("pets", ("cat", "dog", "owl"), {"train": GOOD[:4]}).splits["train"].counts(3).tolist() == [2, 2, 0]


def test_classes_that_cannot_be_learnt_or_told_apart() -> None:
    with pytest.raises(TailwiseError, match="pets: fewer than two classes have training images"):
        look([GOOD[0], GOOD[2]])
    with pytest.raises(TailwiseError, match="pets: class 'owl' is in test but not in train"):
        examine("pets", ("cat", "dog", "owl"), {"train": GOOD[:4], "test": [Sample("owl.png", 2, encoded(900))]})


def test_large_or_unequal_images_stay_encoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(0, 65))
    samples = [Sample("a", 0, tmp_path / "a.png"), Sample("b", 1, encoded(1, 65, "JPEG"))]
    large = look(samples).splits["train"].images
    assert isinstance(large, Encoded)
    assert [image.size for image in large] == [(65, 65)] * 2  # whole, though the check itself reads JPEGs coarsely
    assert isinstance(look([*GOOD[:2], Sample("c", 1, encoded(2, 7))]).splits["train"].images, Encoded)


def test_hash_depends_on_content_and_labels_but_not_on_names() -> None:
    first = look(GOOD[:4]).sha256
    assert look([Sample("x", s.label, s.data) for s in GOOD[:4]]).sha256 == first
    assert look([*GOOD[:3], GOOD[5]]).sha256 != first
    assert look([*GOOD[:3], Sample("3.png", 0, GOOD[3].data)]).sha256 != first
    assert look(GOOD[:2], test=GOOD[2:4]).sha256 != first


@pytest.fixture
def files(tmp_path: Path) -> list[Sample]:
    """120 files of two classes, no images in them, all of one content."""
    samples = [Sample(f"{i}.png", i % 2, tmp_path / f"{i}.png") for i in range(120)]
    for sample in samples:
        assert isinstance(sample.data, Path)
        sample.data.write_bytes(b"not looked at")
    return samples


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "missing"),
        (Path("/nowhere/at/all.png"), "missing"),
        (Path("/dev/null/a.png"), "missing"),
        (Path("/"), "not a file"),
        (Path("/dev/null"), "not a file"),
        (Path("nul\0.png"), "unreadable"),
        (b"this is a letter, not a picture", "not an image"),
    ],
)
def test_the_cheap_look_skips_what_is_not_there(files: list[Sample], content: bytes | Path | None, problem: str) -> None:
    train = [*files, Sample("bad.png", 1, content)]
    source = examine("pets", ("cat", "dog"), {"train": train}, look=present)
    (issue,) = source.issues
    assert (issue.path, issue.split) == ("bad.png", "train")
    assert issue.problem.startswith(problem)
    images = source.splits["train"].images
    assert isinstance(images, Encoded)
    assert images.items == [sample.data for sample in files]


def test_the_cheap_look_sees_empty_files_and_repeated_lines(files: list[Sample], tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    splits = {"train": [*files[:110], files[119]], "test": files[110:]}
    with pytest.raises(TailwiseError, match=r"2 of 121 images are bad, .*\(duplicate: equals 119\.png in test\); mend it$"):
        examine("pets", ("cat", "dog"), {**splits, "train": splits["train"][::-1]}, look=present, advice="mend it")
    (tmp_path / "1.png").write_bytes(b"full")
    source = examine("pets", ("cat", "dog"), splits, look=present)
    assert source.issues == (Issue("119.png", "train", "duplicate: equals 119.png in test"),)


def test_odd_but_readable_images_do_not_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns about very large images, and warnings are errors in these tests."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)  # of 36; above twice as many it refuses
    assert look(GOOD[:2]).issues == ()


def test_issues_with_commas_and_newlines_survive(tmp_path: Path) -> None:
    write_issues([Issue('a, "b".png', "train", "odd")], tmp_path / "issues.csv")
    with open(tmp_path / "issues.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1] == ['a, "b".png', "train", "odd"]


def test_labels_are_int64() -> None:
    assert look(GOOD[:2]).splits["train"].labels.dtype == torch.int64
