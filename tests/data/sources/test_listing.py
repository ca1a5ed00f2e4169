"""Listings and CSV files, and their errors by line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tailwise.data import MultiLabelSplit, open_source
from tailwise.data.checks import TooManyBad
from tailwise.types import TailwiseError


def test_listing(tmp_path: Path, put) -> None:
    put(tmp_path / "images" / "a cat.png", 0)
    put(tmp_path / "b.png", 1)
    (tmp_path / "list.txt").write_text("\ufeffimages/a cat.png 1\n\nb.png 0\n", encoding="utf-8")
    source = open_source(tmp_path / "list.txt")
    assert source.names == ("0", "1")
    assert source.splits["train"].labels.tolist() == [1, 0]
    assert np.array_equal(source.splits["train"].images[0], Image.open(tmp_path / "images" / "a cat.png"))


def test_listing_with_names_and_absolute_paths(tmp_path: Path, put) -> None:
    put(tmp_path / "a.png", 0)
    put(tmp_path / "b.png", 1)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.txt").write_text(f"../a.png owl\n{tmp_path / 'b.png'} cat\n")
    source = open_source(tmp_path / "lists" / "list.txt")
    assert source.names == ("cat", "owl")
    assert source.splits["train"].labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.png 0\nb.png\n", "line 2: no label after 'b.png'"),
        ("a.png 0\n\nb.png -1\n", "line 3: negative label -1"),
        ("a.png 0\nb.png cat\n", "line 2: label 'cat' is not a number, but others are"),
        ("a.png 0\nb.png nan\n", "line 2: label 'nan' is not a number"),
        ("a.png 0\nb.png 1.5\n", "line 2: label '1.5' is not a number"),
        ("a.png 0\nb.png 7\n", "line 2: label 7 is out of range, for no training image has label 1"),
        ("a.png 1\nb.png 2\n", "no training image has label 0"),
        ("a.png 0\nb.png 0\n", "fewer than two classes"),
        ("", "no training images in it"),
    ],
)
def test_listings_that_are_refused(tmp_path: Path, text: str, problem: str, put, refused) -> None:
    put(tmp_path / "a.png", 0)
    put(tmp_path / "b.png", 1)
    (tmp_path / "list.txt").write_text(text)
    refused(tmp_path / "list.txt", problem)


def test_listing_that_is_no_text(tmp_path: Path, refused) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    refused(tmp_path / "list.txt", "cannot be read as UTF-8 text")


def test_csv(tmp_path: Path, put) -> None:
    for i in range(4):
        put(tmp_path / f"{i}, x.png", i)
    (tmp_path / "list.csv").write_text(
        'label, path,note,group,split\nowl,"0, x.png",?,site 1,train\ncat,"1, x.png",?,site 2,Train\n'
        'cat,"2, x.png",?,site 3,validation\nowl,"3, x.png",?,site 3,test\n'
    )
    source = open_source(tmp_path / "list.csv")
    assert source.names == ("cat", "owl")
    assert {name: split.labels.tolist() for name, split in source.splits.items()} == {"train": [1, 0], "val": [0], "test": [1]}
    assert source.splits["train"].groups == ("site 1", "site 2")
    assert source.splits["train"].subset(torch.tensor([1])).groups == ("site 2",)


def test_csv_without_splits_and_groups(tmp_path: Path, put) -> None:
    put(tmp_path / "a.png", 0)
    put(tmp_path / "b.png", 1)
    (tmp_path / "list.csv").write_text("path,label\na.png,0\nb.png,1\n")
    source = open_source(tmp_path / "list.csv")
    assert list(source.splits) == ["train"]
    assert source.splits["train"].groups is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("file,class\na.png,0\n", "no column path and no label; its columns are file, class"),
        ("path;label\na.png;0\n", "no column path and no label; its columns are path;label"),
        ("", "its columns are none"),
        ("path,label\na.png,0\nb.png\n", "line 3: label is empty"),
        ("path,label\na.png,\n", "line 2: label is empty"),
        ("path,label,split\na.png,0,dev\n", "line 2: unknown split 'dev'"),
        ("path,label,split\na.png,0,test\nb.png,1,test\n", "no training images in it"),
        ("path,label,split\na.png,0,train\nb.png,1,test\n", "line 3: label 1 is in test but not in train"),
        ("path,label,split\na.png,x,train\nb.png,y,test\n", "fewer than two classes"),
    ],
)
def test_csvs_that_are_refused(tmp_path: Path, text: str, problem: str, put, refused) -> None:
    put(tmp_path / "a.png", 0)
    put(tmp_path / "b.png", 1)
    (tmp_path / "list.csv").write_text(text)
    refused(tmp_path / "list.csv", problem)


def test_a_column_labels_gives_images_any_number_of_them(tmp_path: Path, put) -> None:
    for i, name in enumerate("abcd"):
        put(tmp_path / f"{name}.png", i)
    (tmp_path / "list.csv").write_text(
        "path,labels,split\na.png,owl; cat,train\nb.png,,train\nc.png,cat;cat;,train\nd.png,owl,test\n"
    )
    source = open_source(tmp_path / "list.csv")
    assert source.names == ("cat", "owl")
    train = source.splits["train"]
    assert isinstance(train, MultiLabelSplit)
    assert train.positives.tolist() == [[1, 1], [0, 0], [1, 0]]
    assert train.counts(2).tolist() == [2, 1]
    assert train.labels.tolist() == [1, 2, 0]  # the rarest class, and of none one beyond them
    assert source.splits["test"].targets(torch.tensor([0])).tolist() == [[0, 1]]


def test_an_image_listed_twice_with_other_labels_is_a_conflict(tmp_path: Path, put) -> None:
    for i in range(60):
        put(tmp_path / f"{i}.png", i)
    rows = "".join(f"{i}.png,{'a' if i % 2 else 'b'}\n" for i in range(60))
    (tmp_path / "list.csv").write_text(f"path,labels\n{rows}0.png,a;b\n")
    with pytest.raises(TooManyBad) as refused:
        open_source(tmp_path / "list.csv")
    (issue,) = refused.value.source.issues
    assert issue.problem.startswith("duplicate with another label")
    assert len(refused.value.source.splits["train"].labels) == 60  # what a survey looks at all the same


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path,label,labels\na.png,x,x\n", "has columns label and labels"),
        ("path,labels\na.png,\nb.png,\n", "no training image has a label"),
        ("path,labels\na.png,1;x\n", "line 2: label '1' is not|line 2: label 'x' is not a number"),
        ("path,labels\na.png,0;2\n", "label 2 is out of range"),
        ("path,labels\na.png,x\nb.png,x\n", "fewer than two classes"),
        ("path,labels\na.png,x,y\nb.png,x\n", "line 2: more cells than columns; put a cell that holds a comma into quotes"),
        ('path,labels\na.png,"x,y"\nb.png,x\n', "line 2: 'x,y' looks like several labels; put ; between labels"),
        ("path,labels\na.png,x|y\nb.png,x\n", "'x|y' looks like several labels"),
        ("path,labels,split\na.png,x;y,train\nb.png,z,test\n", "class 'z' is in test but not in train"),
    ],
)
def test_mistakes_in_lists_of_several_labels(tmp_path: Path, put, text: str, problem: str) -> None:
    put(tmp_path / "a.png", 0)
    put(tmp_path / "b.png", 1)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(TailwiseError, match=problem):
        open_source(tmp_path / "list.csv")
