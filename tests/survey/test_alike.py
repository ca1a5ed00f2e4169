"""Which look-alikes across splits are leaks from the training images."""

from itertools import pairwise

import numpy as np
import torch
from survey.folders import scene

from tailwise.data.source import Split, Stacked
from tailwise.survey.alike import find
from tailwise.survey.look import look


def split(*images: np.ndarray) -> Split:
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Split(Stacked(pixels), torch.zeros(len(images), dtype=torch.int64))


def lighter(seed: int, levels: int) -> np.ndarray:
    return (np.asarray(scene(seed, (64, 48))).astype(int) * 0.8 + levels).astype(np.uint8)


def test_an_image_leaks_from_train_even_where_one_of_another_split_is_nearer() -> None:
    near = [lighter(0, levels) for levels in (0, 10, 12)]  # val and test are nearest to each other, and near to train
    splits = {
        "train": split(near[0], lighter(2, 0)),
        "val": split(near[1], lighter(1, 0)),
        "test": split(lighter(1, 2), near[2]),  # the first is like one of val alone
    }
    record = find(splits, {name: look(part) for name, part in splits.items()}, ["a"], []).record["near"]
    assert record["leaks"] == {"val": 1, "test": 1}
    assert (record["clusters"], record["images"]) == (2, 5)
    paths = [tuple(pair[key]["path"] for key in ("first", "second")) for pair in record["pairs"]]
    assert set(paths) == {
        ("train image 0", "val image 0"),
        ("train image 0", "test image 1"),
        ("val image 0", "test image 1"),
        ("val image 1", "test image 0"),
    }
    assert all(a["difference"] <= b["difference"] for a, b in pairwise(record["pairs"]))
