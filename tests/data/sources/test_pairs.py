"""Folders of images beside folders of masks, and which folders are taken for them."""

from pathlib import Path

import pytest
from masks import mask, photo, put

from tailwise.data import Split, open_source
from tailwise.data.pixels import PixelSplit


def fill(root: Path, *names: str, masks: str = "masks", first: int = 0) -> None:
    """``root/images/NAME.jpg`` and ``root/MASKS/NAME.png`` of two classes."""
    for i, name in enumerate(names, first):
        put(root / "images" / f"{name}.jpg", photo(i, form="JPEG"))
        put(root / masks / f"{name}.png", mask(0, 1, i % 2, 255))


@pytest.mark.parametrize("masks", ["masks", "annotations", "labels"])
def test_a_pair_of_folders(tmp_path: Path, masks: str, home: Path) -> None:
    fill(tmp_path, "b", "a.x", "deep/in/a", masks=masks)
    put(tmp_path / "images" / ".hidden.jpg", b"?")
    put(tmp_path / "notes" / "notes.txt", b"?")
    source = open_source(tmp_path)
    assert source.names == ("0", "1")
    assert source.issues == ()
    train = source.splits["train"]
    assert isinstance(train, PixelSplit)
    assert train.images.items == [tmp_path / "images" / name for name in ("a.x.jpg", "b.jpg", "deep/in/a.jpg")]  # type: ignore[attr-defined]
    assert train.masks.items == [tmp_path / masks / name for name in ("a.x.png", "b.png", "deep/in/a.png")]  # type: ignore[attr-defined]
    assert train.counts(2).tolist() == [38, 31]
    assert len(list((home / ".cache" / "tailwise" / "pixels").iterdir())) == 1
    assert open_source(tmp_path).sha256 == source.sha256
    assert open_source(tmp_path, download_root=tmp_path / "cache").sha256 == source.sha256
    assert len(list((tmp_path / "cache" / "pixels").iterdir())) == 1


def test_splits_within_the_folders(tmp_path: Path) -> None:
    fill(tmp_path, "training/a", "training/b", "validation/a", "test/a")
    put(tmp_path / "classes.txt", "\ufeffsky\n road \n\n".encode())
    source = open_source(tmp_path)
    assert source.names == ("sky", "road")
    assert {name: len(split.labels) for name, split in source.splits.items()} == {"test": 1, "train": 2, "val": 1}


def test_splits_around_the_folders(tmp_path: Path) -> None:
    fill(tmp_path / "train", "a", "b")
    fill(tmp_path / "val", "a", first=2)
    source = open_source(tmp_path)
    assert {name: len(split.labels) for name, split in source.splits.items()} == {"train": 2, "val": 1}


def test_class_folders_stay_class_folders(tmp_path: Path) -> None:
    for name in ("images", "imagery", "train"):
        put(tmp_path / name / "a.png", photo(len(name)))
    source = open_source(tmp_path)
    assert source.names == ("imagery", "images", "train")
    assert type(source.splits["train"]) is Split
    put(tmp_path / "split" / "train" / "images" / "a.png", photo(1))
    put(tmp_path / "split" / "train" / "masks" / "a.png", photo(2))
    put(tmp_path / "split" / "val" / "masks" / "a.png", photo(3))
    assert open_source(tmp_path / "split").names == ("images", "masks")  # for not every split has both


def test_what_the_user_says_to_ignore(tmp_path: Path, refused) -> None:
    fill(tmp_path, "a", "b")
    put(tmp_path / "images" / "c.jpg", photo(7))
    put(tmp_path / "masks" / "c.png", mask(2, 0))
    assert open_source(tmp_path).names == ("0", "1", "2")
    refused(tmp_path, "a.jpg: mask value 255, but no mask has 3", ignore=7)
    put(tmp_path / "classes.txt", b"road\npole\n")
    refused(tmp_path, "c.jpg (mask value 2 is no class: these are 0..1, ignored is 255)")
    for name in "ab":
        put(tmp_path / "masks" / f"{name}.png", mask(0, 1, 2))
    assert open_source(tmp_path, ignore=0).splits["train"].counts(2).tolist() == [20, 35]


@pytest.mark.parametrize(
    ("extra", "content", "problem"),
    [
        ("images/c.png", photo(8), "1 of 3 images are bad, at most 1% may be; first: {}/images/c.png (an image without mask)"),
        ("masks/c.png", mask(0), "first: {}/masks/c.png (a mask without image); a mask has the name of its image"),
        ("images/a.png", photo(8), "{}/images/a.png: beside a.jpg, two files for one pair; keep one"),
        ("masks/a.tif", mask(0), "{}/masks/a.tif: beside a.png, two files for one pair"),
        ("labels/a.png", mask(0), "{}: folders masks and labels beside images"),
        ("classes.txt", b"sky\nsky\n", "{}: two classes are called 'sky'"),
        ("classes.txt", b"\n", "{}/classes.txt: no names in it; write one class a line"),
        ("classes.txt", b"\xff", "{}/classes.txt: cannot be read as UTF-8 text"),
        ("classes.txt", b"sky\n", "(mask value 1 is no class: these are 0..0, ignored is 255)"),
    ],
)
def test_pairs_that_are_refused(tmp_path: Path, extra: str, content: bytes, problem: str, refused) -> None:
    fill(tmp_path, "a", "b")
    put(tmp_path / extra, content)
    refused(tmp_path, problem.format(tmp_path))


def test_folders_that_are_refused(tmp_path: Path, refused) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    refused(tmp_path, f"{tmp_path}/images: no images in it")
    put(tmp_path / "images" / "a.png", photo(0))
    put(tmp_path / "masks" / "a.npy", b"?")
    refused(tmp_path, f"{tmp_path}/masks: no images in it; expected files such as .png")


def test_splits_that_are_refused(tmp_path: Path, refused) -> None:
    fill(tmp_path, "test/a")
    refused(tmp_path, "no train folder beside test")
    fill(tmp_path, "train/a", "train/b", first=3)
    put(tmp_path / "images" / "val" / "a.jpg", photo(7))
    refused(tmp_path, f"{tmp_path}/images/val: nothing for it in {tmp_path}/masks; add a folder val, or remove this one")
    put(tmp_path / "masks" / "valid" / "a.png", mask(0))
    put(tmp_path / "masks" / "validation" / "a.png", mask(0))
    refused(tmp_path, f"{tmp_path}/masks: two folders for one split among test, train, valid, validation; keep one")


def test_ignore_means_nothing_without_masks(tmp_path: Path, refused) -> None:
    put(tmp_path / "cat" / "a.png", photo(0))
    put(tmp_path / "dog" / "b.png", photo(1))
    refused(tmp_path, f"{tmp_path}: has no masks, so ignore=0 means nothing; leave it out", ignore=0)
    refused("digits", "digits: has no masks", ignore=255)
    refused("digts", "no such data", ignore=255)
