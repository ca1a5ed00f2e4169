"""From a source to splits: long tail, what is held out, and what the manifest says of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tailwise.data import Stacked
from tailwise.train.prepare import long_tail, prepare
from tailwise.train.recipe import Data
from tailwise.types import TailwiseError

RNG = np.random.RandomState(0)


def picture(size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.fromarray(RNG.randint(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def folder(path: Path, counts: dict[str, int], size: tuple[int, int] = (8, 8)) -> Path:
    for name, n in counts.items():
        (path / name).mkdir(parents=True)
        for i in range(n):
            picture(size).save(path / name / f"{i}.png")
    return path


def parquet(path: Path, split: str, labels: list[int]) -> None:
    import io

    cells = []
    for _ in labels:
        file = io.BytesIO()
        picture().save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": None})
    pq.write_table(pa.table({"image": cells, "label": labels}), path / f"{split}.parquet")


def test_a_folder_without_splits_gives_test_validation_and_train(tmp_path: Path) -> None:
    prepared = prepare(Data(source=str(folder(tmp_path / "d", {"a": 20, "b": 10})), test=0.2, validation=0.25))
    assert prepared.names == ["a", "b"]
    assert prepared.test.counts(2).tolist() == [4, 2]
    assert (prepared.checked_name, prepared.checked.counts(2).tolist()) == ("val", [4, 2])
    assert prepared.train.counts(2).tolist() == prepared.counts.tolist() == [12, 6]
    seen = torch.cat([split.images.pixels for split in (prepared.train, prepared.checked, prepared.test)])  # type: ignore[attr-defined]
    assert len(seen.flatten(1).unique(dim=0)) == 30  # each image in one split


def test_a_given_validation_split_is_used_whole(tmp_path: Path) -> None:
    for split, n in {"train": 6, "val": 3, "test": 2}.items():
        folder(tmp_path / "d" / split, {"a": n, "b": n})
    prepared = prepare(Data(source=str(tmp_path / "d"), validation=0.5))
    assert prepared.counts.tolist() == [6, 6]
    assert (prepared.checked_name, prepared.checked.counts(2).tolist()) == ("val", [3, 3])
    assert prepared.test.counts(2).tolist() == [2, 2]


def test_without_validation_the_test_split_is_only_watched(tmp_path: Path) -> None:
    prepared = prepare(Data(source=str(folder(tmp_path / "d", {"a": 10, "b": 10})), validation=0.0))
    assert prepared.checked_name == "test"
    assert prepared.checked.labels.tolist() == prepared.test.labels.tolist()
    assert prepared.counts.tolist() == [8, 8]


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_a_balanced_source_is_made_long_tailed_and_its_test_is_left_alone(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "d"
    if kind == "folder":
        for split, n in {"train": 16, "test": 4}.items():
            folder(root / split, dict.fromkeys("abc", n))
    else:
        root.mkdir()
        for split, n in {"train": 16, "test": 4}.items():
            parquet(root, split, [c for c in range(3) for _ in range(n)])
    data = Data(source=str(root), imbalance_factor=7.0, validation=0.0)
    prepared = prepare(data)
    assert prepared.counts.tolist() == [16, 6, 2]  # ⌊16 / √7⌋ = 6, ⌊16 / 7⌋ = 2
    assert prepared.test.counts(3).tolist() == [4, 4, 4]
    manifest = prepared.manifest(data)
    assert manifest["imbalance_factor"] == {"nominal": 7.0, "realised": 8.0}
    assert manifest["train_counts"] == [16, 6, 2]
    assert manifest["samples"] == {"train": 24, "test": 12}
    assert len(manifest["sha256"]) == 64
    again = prepare(data)
    assert torch.equal(again.train.images.pixels, prepared.train.images.pixels)  # type: ignore[attr-defined]
    other = prepare(Data(source=str(root), imbalance_factor=7.0, validation=0.0, subset_seed=1))
    assert not torch.equal(other.train.images.pixels, prepared.train.images.pixels)  # type: ignore[attr-defined]


def test_validation_comes_out_of_the_long_tailed_training_set(tmp_path: Path) -> None:
    for split, n in {"train": 40, "test": 4}.items():
        folder(tmp_path / "d" / split, {"a": n, "b": n})
    data = Data(source=str(tmp_path / "d"), imbalance_factor=4.0, validation=0.2)
    prepared = prepare(data)
    assert prepared.counts.tolist() == [32, 8]  # of 40 and 10
    assert prepared.checked.counts(2).tolist() == [8, 2]
    assert prepared.manifest(data)["samples"] == {"train": 40, "val": 10, "test": 8}


def test_a_counts_file_says_how_many_by_name(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"a": 10, "b": 10})
    (tmp_path / "counts.txt").write_text("b 5\na 3\n")
    prepared = prepare(Data(source=str(root), counts=str(tmp_path / "counts.txt"), validation=0.0))
    assert prepared.counts.tolist() == [3, 5]


def test_step_profile_and_a_chosen_largest_class() -> None:
    prepared = prepare(Data(source="digits", imbalance_factor=10.0, profile="step", largest=100, validation=0.0))
    assert prepared.counts.tolist() == [100] * 5 + [10] * 5
    assert isinstance(prepared.train.images, Stacked)
    assert prepared.size == 8
    assert prepared.presets == ("shift",)


def test_all_is_kept_when_no_tail_is_asked_for() -> None:
    assert long_tail(torch.tensor([1, 0, 1]), ("a", "b"), Data()).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(imbalance_factor=0.5), "imbalance factor: must be at least 1"),
        (Data(imbalance_factor=float("nan")), "imbalance factor: must be at least 1"),
        (Data(imbalance_factor=10.0, largest=500), "has 1[0-9]+ images, 500 are wanted; ask for fewer"),
        (Data(validation=1.0), "fraction must lie between 0 and 1"),
        (Data(source="digitz"), "no such data: 'digitz'.*did you mean 'digits'"),
        (Data(counts="nowhere.txt"), "cannot read the counts file"),
    ],
)
def test_what_cannot_be_done_is_refused(data: Data, message: str) -> None:
    with pytest.raises(TailwiseError, match=message):
        prepare(data)


def test_a_class_of_one_image_is_trained_on_and_not_validated() -> None:
    prepared = prepare(Data(imbalance_factor=1000.0, largest=100))
    assert int(prepared.counts.min()) == 1
    assert int(prepared.checked.counts(10)[-1]) == 0
    assert int(prepared.checked.counts(10)[0]) == 10


def test_large_images_of_different_sizes_are_seen_in_one_size(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"a": 3}, (90, 70))
    (root / "b").mkdir()
    for i in range(3):
        picture((70 + i, 100)).save(root / "b" / f"{i}.png")
    prepared = prepare(Data(source=str(root), validation=0.0, test=0.3))
    assert (prepared.size, prepared.presets) == (224, ("resized_crop_flip",))
    smaller = prepare(Data(source=str(root), validation=0.0, test=0.3, image_size=16))
    assert (smaller.size, smaller.presets) == (16, ("crop_flip",))
    index = torch.arange(4)
    assert smaller.plain().of(smaller.train.images, index, index).shape == (1, 4, 3, 16, 16)


def test_small_images_of_different_sizes_too(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"a": 4}, (8, 8))
    folder(root, {"b": 4}, (10, 9))
    prepared = prepare(Data(source=str(root), validation=0.0, image_size=12))
    index = torch.arange(len(prepared.train.labels))
    assert prepared.views(3).of(prepared.train.images, index, index).shape == (3, len(index), 3, 12, 12)


def test_the_last_preset_serves_the_rest_of_the_views() -> None:
    prepared = prepare(Data(views=("plain", "shift"), validation=0.0))
    index = torch.arange(6)
    views = prepared.views(4).of(prepared.train.images, index, index)
    assert views.shape == (4, 6, 3, 8, 8)
    assert torch.equal(views[0], prepared.plain().of(prepared.train.images, index, index)[0])
    assert not torch.equal(views[1], views[2])  # shifted each in its own way
