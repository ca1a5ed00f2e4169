"""Parquet files made here, and real ones where there are some."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tailwise.data import Stacked, open_source

REAL = pytest.mark.skipif("TAILWISE_DATA" not in os.environ, reason="TAILWISE_DATA names no folder of real data")


@pytest.fixture
def write_parquet(png):
    """``write_parquet(path, labels, names)``: rows in the Hugging Face layout."""

    def write_parquet(path: Path, labels: list[Any], names: list[str] | None = None, first_seed: int = 0) -> None:
        cells = [{"bytes": png(first_seed + i), "path": f"{i}.png"} for i in range(len(labels))]
        table = pa.table({"image": cells, "label": labels})
        feature: dict[str, Any] = {"_type": "ClassLabel", "names": names} if names else {"_type": "Value"}
        info = {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), path)

    return write_parquet


def test_parquet_folder_with_shards(tmp_path: Path, png, write_parquet) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [0, 1], ["cat", "dog"])
    write_parquet(tmp_path / "train-00001-of-00002.parquet", [1, 1], ["cat", "dog"], first_seed=2)
    write_parquet(tmp_path / "validation.parquet", [1], ["cat", "dog"], first_seed=4)
    write_parquet(tmp_path / "test.parquet", [0], ["cat", "dog"], first_seed=5)
    source = open_source(tmp_path)
    assert source.names == ("cat", "dog")
    assert {name: split.labels.tolist() for name, split in source.splits.items()} == {
        "train": [0, 1, 1, 1],
        "val": [1],
        "test": [0],
    }
    for i in range(4):
        assert np.array_equal(source.splits["train"].images[i], Image.open(io.BytesIO(png(i))))


def test_parquet_file_without_names(tmp_path: Path, write_parquet) -> None:
    write_parquet(tmp_path / "mine.parquet", [2, 0, 1])
    source = open_source(tmp_path / "mine.parquet")
    assert source.names == ("0", "1", "2")
    assert list(source.splits) == ["train"]


def test_parquet_columns_by_their_kind(tmp_path: Path, png) -> None:
    """The hub's CIFAR-100 calls its columns img, fine_label and coarse_label."""
    info = {"info": {"features": {"fine_label": {"_type": "ClassLabel", "names": ["a", "b"]}}}}
    table = pa.table({"img": [{"bytes": png(i), "path": None} for i in range(2)], "coarse_label": [0, 0], "fine_label": [0, 1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), tmp_path / "train.parquet")
    source = open_source(tmp_path)
    assert source.names == ("a", "b")
    assert source.splits["train"].labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "names", "problem"),
    [
        ([0, 2], ["a", "b"], "#1: label 2 is out of range; it must lie in 0..1"),
        ([0, -1], ["a", "b"], "#1: label -1 is out of range"),
        ([0, -1], None, "#1: negative label -1"),
        ([0, 1_000_000_000], None, "#1: label 1000000000 is out of range, for no training image has label 1"),
        ([0, None], ["a", "b"], "#1: no label"),
        ([0.0, 1.5], ["a", "b"], "column 'label' holds double; labels must be whole numbers"),
        ([0, 0], ["a", "b"], "fewer than two classes"),
    ],
)
def test_parquet_labels_are_checked(
    tmp_path: Path, labels: list[Any], names: list[str] | None, problem: str, refused, write_parquet
) -> None:
    write_parquet(tmp_path / "train.parquet", labels, names)
    refused(tmp_path, problem)


def test_parquet_that_is_none_or_lacks_parts(tmp_path: Path, refused, write_parquet) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 but no more")
    refused(tmp_path, "cannot be read as parquet")
    pq.write_table(pa.table({"label": [0, 1], "text": ["a", "b"]}), tmp_path / "train.parquet")
    refused(tmp_path, "no image column; its columns are label, text")
    pq.write_table(pa.table({"image": [{"bytes": b"", "path": ""}], "mask": [1]}), tmp_path / "train.parquet")
    refused(tmp_path, "no label column; its columns are image, mask")
    (tmp_path / "train.parquet").rename(tmp_path / "part.parquet")
    refused(tmp_path, "no train.parquet", "found part.parquet")
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [0, 1])
    refused(tmp_path, "1 files for train, but shards of 2")


def test_parquet_files_must_agree_on_names(tmp_path: Path, refused, write_parquet) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1], ["cat", "dog"])
    write_parquet(tmp_path / "test.parquet", [0, 1], ["dog", "cat"], first_seed=2)
    refused(tmp_path, "its class names differ")


@REAL
def test_real_parquet() -> None:
    source = open_source(Path(os.environ["TAILWISE_DATA"]) / "tiny-imagenet-32")
    assert len(source.names) == 200
    assert source.splits["test"].counts(200).tolist() == [50] * 200
    train = source.splits["train"]
    assert isinstance(train.images, Stacked)
    assert train.images.pixels.shape == (39_161, 3, 32, 32)
    assert [issue.problem.split(":")[0] for issue in source.issues] == ["duplicate with another label"] * 2
