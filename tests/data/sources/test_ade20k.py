"""The tree of ADE20K."""

from pathlib import Path

import pytest
from masks import mask, photo, put

from tailwise.data import open_source
from tailwise.data.pixels import PixelSplit
from tailwise.types import IGNORE

NAMES = ["wall", "building, edifice", "door;double door", "screen door, screen", *(f"thing {i}, object" for i in range(146))]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images; 0 is no class, 150 the last one."""
    for i, name in enumerate(("training/ADE_train_1", "training/ADE_train_2", "validation/ADE_val_1")):
        put(tmp_path / "images" / f"{name}.jpg", photo(i, form="JPEG"))
        put(tmp_path / "annotations" / f"{name}.png", mask(0, 1, 1 + i, 150))
    return tmp_path


def test_validation_is_test_and_zero_is_no_class(root: Path, refused) -> None:
    source = open_source(root)
    assert source.names == tuple(map(str, range(150)))
    assert {name: len(split.labels) for name, split in source.splits.items()} == {"train": 2, "test": 1}
    train = source.splits["train"]
    assert isinstance(train, PixelSplit)
    assert train.counts(150)[[0, 1, 149]].tolist() == [23, 7, 14]
    assert int(train.counts(150).sum()) == 44
    assert train.masks[1].unique().tolist() == [IGNORE, 0, 1, 149]
    refused(root, "ADE20K ignores 0, so ignore=255 means nothing", ignore=255)
    put(root / "annotations" / "training" / "ADE_train_1.png", mask(0, 151))
    refused(root, "ADE_train_1.jpg (mask value 151 is no class: these are 1..150, ignored is 0)")


@pytest.mark.parametrize("columns", ["{i}\t0.1\t12\t3\t{name}", "  {i}  0.1  12  3  1  {name}  "])
def test_names_from_the_list_of_objects(root: Path, columns: str, refused) -> None:
    lines = [columns.format(i=i, name=name) for i, name in enumerate(NAMES, 1)]
    put(root / "objectInfo150.txt", "\n".join(["Idx\tRatio\tTrain\tVal\tName", *lines]).encode())
    assert open_source(root).names[:5] == ("wall", "building", "door", "screen door", "thing 0")
    lines[1] = columns.format(i=2, name="wall, rampart")
    put(root / "objectInfo150.txt", "\n".join(lines).encode())
    assert open_source(root).names[:2] == ("wall", "wall, rampart")
    put(root / "objectInfo150.txt", "\n".join(lines[:-2]).encode())
    refused(root, "objectInfo150.txt: expected lines for the classes 1..150, got 148; get it again or remove it")
    put(root / "objectInfo150.txt", b"\xff")
    refused(root, "objectInfo150.txt: cannot be read as UTF-8 text")


def test_train_alone_and_other_classes(root: Path) -> None:
    for part in ("images", "annotations"):
        (next((root / part / "validation").iterdir())).unlink()
        (root / part / "validation").rmdir()
    assert list(open_source(root).splits) == ["train"]
    put(root / "classes.txt", "\n".join(map(str, range(151))).encode())
    counts = open_source(root).splits["train"].counts(151)  # the user's own classes in folders of the same names
    assert counts[[0, 1, 2, 150]].tolist() == [16, 23, 7, 14]
