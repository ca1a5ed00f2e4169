"""Folders of class folders, with and without splits."""

from pathlib import Path

import numpy as np
from PIL import Image

from tailwise.data import open_source


def test_folder_of_class_folders(tmp_path: Path, put) -> None:
    put(tmp_path / "owl" / "b.png", 0)
    put(tmp_path / "cat" / "deep" / "a.PNG", 1)
    put(tmp_path / "train" / "c.jpeg", 2)  # a class may be called like a split; a suffix need not tell the format
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"?")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".git").mkdir()
    source = open_source(str(tmp_path))
    assert source.names == ("cat", "owl", "train")
    assert source.splits["train"].labels.tolist() == [0, 1, 2]
    assert np.array_equal(source.splits["train"].images[0], Image.open(tmp_path / "cat" / "deep" / "a.PNG"))
    assert source.issues == ()


def test_folder_with_splits(tmp_path: Path, put) -> None:
    for i, name in enumerate(("train/cat/0", "train/owl/1", "valid/owl/2", "test/owl/3")):
        put(tmp_path / f"{name}.png", i)
    source = open_source(tmp_path)
    assert {name: split.labels.tolist() for name, split in source.splits.items()} == {"test": [1], "train": [0, 1], "val": [1]}


def test_folders_that_are_refused(tmp_path: Path, put, refused) -> None:
    refused(tmp_path, "no class folders in it")
    put(tmp_path / "0.png", 0)
    refused(tmp_path, "no class folders in it")
    (tmp_path / "cat").mkdir()
    refused(tmp_path, "no images in the class folders")
    put(tmp_path / "cat" / "0.png", 0)
    refused(tmp_path, "fewer than two classes")
    (tmp_path / "owl").mkdir()
    refused(tmp_path, "owl: a class folder without images")


def test_split_folders_that_are_refused(tmp_path: Path, put, refused) -> None:
    put(tmp_path / "test" / "fox" / "0.png", 0)
    refused(tmp_path, "no train folder beside test")
    put(tmp_path / "train" / "cat" / "1.png", 1)
    put(tmp_path / "train" / "owl" / "2.png", 2)
    refused(tmp_path, "class 'fox' is in test but not in train")
    put(tmp_path / "val" / "cat" / "3.png", 3)
    put(tmp_path / "valid" / "cat" / "4.png", 4)
    refused(tmp_path, "two folders for val")
