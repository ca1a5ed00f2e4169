"""The tree of Cityscapes."""

from pathlib import Path

import pytest
from masks import mask, photo, put

from tailwise.data import open_source
from tailwise.data.pixels import PixelSplit
from tailwise.types import IGNORE


def fill(root: Path, split: str, city: str, n: int, *values: int, kind: str = "labelIds") -> None:
    for i in range(n):
        name = f"{city}/{city}_00000{i}_000019"
        put(root / "leftImg8bit" / split / f"{name}_leftImg8bit.png", photo(sum(map(ord, split + city)) * 10 + i))
        put(root / "gtFine" / split / f"{name}_gtFine_{kind}.png", mask(*values, i))
        put(root / "gtFine" / split / f"{name}_gtFine_color.png", photo(i))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cities to train on, one for val, and test with nothing but ids below road's."""
    fill(tmp_path, "train", "aachen", 2, 7, 11, 33)
    fill(tmp_path, "train", "bochum", 1, 0, 31, 30, 255)
    fill(tmp_path, "val", "ulm", 2, 7, 24)
    fill(tmp_path, "test", "bonn", 3, 0, 4, 6)
    return tmp_path


def test_val_is_test_where_test_keeps_its_labels(root: Path, refused) -> None:
    source = open_source(root, strict=True)
    assert len(source.names) == 19
    assert (source.names[0], source.names[16], source.names[18]) == ("road", "train", "bicycle")
    assert {name: len(split.labels) for name, split in source.splits.items()} == {"train": 3, "test": 2}
    assert [issue.split for issue in source.issues] == ["test"]
    train = source.splits["train"]
    assert isinstance(train, PixelSplit)
    assert train.masks[2].unique().tolist() == [IGNORE, 16]
    assert train.counts(19)[[0, 2, 16, 18]].tolist() == [16, 16, 6, 14]
    assert int(train.counts(19).sum()) == 52
    refused(root, "Cityscapes ignores all but its 19 classes, so ignore=0 means nothing", ignore=0)


def test_a_test_split_with_labels(root: Path) -> None:
    fill(root, "test", "bonn", 3, 7, 26)
    assert {name: len(split.labels) for name, split in open_source(root).splits.items()} == {"train": 3, "val": 2, "test": 3}


def test_a_test_split_without_masks(root: Path) -> None:
    for file in (root / "gtFine" / "test").rglob("*.png"):
        file.unlink()
    assert {name: len(split.labels) for name, split in open_source(root, strict=True).splits.items()} == {"train": 3, "test": 2}


def test_train_ids(tmp_path: Path) -> None:
    fill(tmp_path, "train", "aachen", 2, 18, 255, 19, kind="labelTrainIds")
    train = open_source(tmp_path).splits["train"]
    assert isinstance(train, PixelSplit)
    assert train.masks[1].unique().tolist() == [IGNORE, 1, 18]
    fill(tmp_path, "train", "aachen", 2, 7, 33, 19)  # where there are both, ids are read
    assert open_source(tmp_path).splits["train"].counts(19)[[0, 6, 18]].tolist() == [16, 14, 16]


def test_trees_that_are_refused(tmp_path: Path, refused) -> None:
    (tmp_path / "leftImg8bit").mkdir()
    (tmp_path / "gtFine").mkdir()
    refused(tmp_path, "no gtFine/train/CITY/x_gtFine_labelIds.png in it; unpack gtFine_trainvaltest.zip")
    put(tmp_path / "gtFine" / "train" / "ulm" / "a_gtFine_labelIds.png", mask(7))
    refused(tmp_path, "no leftImg8bit/train/CITY/x_leftImg8bit.png in it")
    put(tmp_path / "leftImg8bit" / "train" / "ulm" / "b_leftImg8bit.png", photo(0))
    refused(tmp_path, "2 of 2 images are bad", "a_gtFine_labelIds.png (a mask without image)")
