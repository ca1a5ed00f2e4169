"""Parquet files with a column of masks, made here, and CamVid where it is."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from masks import mask, photo

from tailwise.data import Source, open_source
from tailwise.data.pixels import PixelSplit
from tailwise.types import IGNORE

STATED = "classes 0..2: Sky, Road , Sign Symbol; 3 = unlabelled (ignore)"


def write(path: Path, masks: list[bytes | None], description: Any = STATED, first: int = 0, **columns: Any) -> None:
    """Images with masks in the Hugging Face layout."""
    cells = [{"bytes": photo(first + i), "path": None} for i in range(len(masks))]
    annotations = [content and {"bytes": content, "path": None} for content in masks]
    table = pa.table({"annotation": annotations, "image": cells, **columns})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"description": description}})}), path)


def counts(source: Source) -> list[int]:
    train = source.splits["train"]
    assert isinstance(train, PixelSplit)
    return train.counts(len(source.names)).tolist()


def test_a_folder_of_splits(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00002.parquet", [mask(0, 1), mask(1, 3)])
    write(tmp_path / "train-00001-of-00002.parquet", [mask(1, 1, 2)], first=2)
    write(tmp_path / "validation.parquet", [mask(0)], first=3)
    write(tmp_path / "test.parquet", [mask(0), mask(2)], first=4)
    source = open_source(tmp_path)
    assert source.names == ("Sky", "Road", "Sign Symbol")
    assert {name: split.labels.tolist() for name, split in source.splits.items()} == {
        "train": [0, 1, 2],
        "val": [0],
        "test": [0, 2],
    }
    assert counts(source) == [15, 50, 10]
    assert source.splits["train"].masks[1].unique().tolist() == [IGNORE, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("description", "names"),
    [
        (STATED, ("Sky", "Road", "Sign Symbol")),
        ("Made by us. Classes 0 - 2: a,b,c; 3=void (ignored). More.", ("a", "b", "c")),
        ("classes 0…2: a, b, c.; 7 = x; 3 = y ( ignore )", ("a", "b", "c")),
        ("", ("0", "1", "2", "3")),
        ("classes: several", ("0", "1", "2", "3")),
        (None, ("0", "1", "2", "3")),
        (["no text"], ("0", "1", "2", "3")),
    ],
)
def test_what_the_description_states(tmp_path: Path, description: Any, names: tuple[str, ...]) -> None:
    write(tmp_path / "mine.parquet", [mask(0, 1, 2, 3, 255) if len(names) == 4 else mask(0, 1, 2, 3)], description)
    source = open_source(tmp_path / "mine.parquet")
    assert source.names == names
    assert list(source.splits) == ["train"]
    assert sum(counts(source)) == (24 if len(names) == 4 else 23)


def test_masks_go_before_labels(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [mask(0, 1), mask(2)], label=[0, 1])
    assert isinstance(open_source(tmp_path).splits["train"], PixelSplit)


def test_the_user_says_what_to_ignore(tmp_path: Path, refused) -> None:
    write(tmp_path / "train.parquet", [mask(0, 1, 2, 5)])
    refused(tmp_path, "train.parquet#0 (mask value 5 is no class: these are 0..2, ignored is 3)")
    assert counts(open_source(tmp_path, ignore=5)) == [8, 8, 7]
    refused(tmp_path, "1 is to be ignored, but is class 'Road'; say one or the other", ignore=1)
    write(tmp_path / "train.parquet", [mask(0, 1, 2)], description="")
    assert counts(open_source(tmp_path, ignore=0)) == [10, 10]


def test_annotated_files_that_are_refused(tmp_path: Path, refused) -> None:
    write(tmp_path / "train.parquet", [mask(0, 1)], "classes 0..3: a, b; 4 = c (ignore)")
    refused(tmp_path, "train.parquet: its description names 2 classes for 0..3; correct it")
    write(tmp_path / "train.parquet", [mask(0, 1), None])
    refused(tmp_path, "1 of 2 images are bad", "train.parquet#1 (an image without mask)")
    empty = pq.read_table(tmp_path / "train.parquet").slice(0, 0)
    pq.write_table(empty, tmp_path / "train.parquet")
    refused(tmp_path, "no training images in it")
    write(tmp_path / "train.parquet", [mask(0, 1)])
    write(tmp_path / "test.parquet", [mask(0, 1)], STATED.replace("Sky", "Sea"), first=5)
    refused(tmp_path, "train.parquet: its classes differ from those of the files before it")
    pq.write_table(pa.table({"image": [{"bytes": photo(9), "path": ""}], "label": [0]}), tmp_path / "test.parquet")
    refused(tmp_path, "test.parquet: no annotation column; its columns are image, label")
    pq.write_table(pa.table({"annotation": [{"bytes": mask(0), "path": ""}]}), tmp_path / "train.parquet")
    (tmp_path / "test.parquet").unlink()
    refused(tmp_path, "train.parquet: no image column; its columns are annotation")


@pytest.mark.skipif("TAILWISE_DATA" not in os.environ, reason="TAILWISE_DATA names no folder of real data")
def test_camvid(tmp_path: Path) -> None:
    for _ in range(2):  # the second start reads what the first one kept
        source = open_source(Path(os.environ["TAILWISE_DATA"]) / "camvid", download_root=tmp_path)
        assert source.names[:3] == ("Sky", "Building", "Pole")
        assert {name: len(split.labels) for name, split in source.splits.items()} == {"test": 233, "train": 367, "val": 101}
        expected = "10682767 14750079 623349 20076880 2845085 6166762 743859 714595 3719877 405385 184967"
        assert counts(source) == list(map(int, expected.split()))
