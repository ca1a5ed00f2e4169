"""Digits, CIFAR through torchvision, and specs that name nothing."""

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from tailwise.data import Stacked, open_source


def test_digits() -> None:
    digits = open_source("digits")
    train, test = digits.splits["train"], digits.splits["test"]
    assert digits.names == tuple("0123456789")
    assert test.counts(10).tolist() == [40] * 10
    assert train.counts(10).tolist() == [138, 142, 137, 143, 141, 142, 141, 139, 134, 140]
    assert isinstance(train.images, Stacked)
    assert train.images.pixels.shape == (1397, 3, 8, 8)
    assert int(train.images.pixels.max()) == 255
    assert open_source("digits").sha256 == digits.sha256


def test_digits_are_scaled_and_parted_without_overlap() -> None:
    from sklearn.datasets import load_digits

    digits = open_source("digits")
    parts = [digits.splits[name].images.pixels[:, 0].flatten(1) for name in ("train", "test")]  # type: ignore[attr-defined]
    found = sorted(torch.cat(parts).tolist())
    assert found == sorted(np.rint(load_digits().data * 255 / 16).astype(int).tolist())


def test_cifar_through_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torchvision import datasets

    class Small:
        classes = ["cat", "dog"]

        def __init__(self, root: Path, train: bool, download: bool) -> None:
            assert (root, download) == (tmp_path, True)
            self.data = np.full((4 if train else 2, 32, 32, 3), [1, 2, 3], dtype=np.uint8)
            self.targets = [0, 1] * (2 if train else 1)

    monkeypatch.setattr(datasets, "CIFAR100", Small)
    source = open_source("cifar100", download_root=tmp_path)
    assert source.names == ("cat", "dog")
    assert source.splits["train"].labels.tolist() == [0, 1, 0, 1]
    assert source.splits["test"].images[0].getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("File not found or corrupted.\nMore.")])
def test_cifar_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch, error: Exception, refused) -> None:
    from torchvision import datasets

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    refused("cifar10", "cifar10: cannot be downloaded to", "check the network")


def test_no_such_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    monkeypatch.chdir(tmp_path)
    named = "digits, cifar10, cifar100, imagenet_lt, places_lt, inaturalist18, camvid, ade20k, cityscapes"
    refused("zzz/", f"no such data: 'zzz/' is neither a path nor one of {named}; check the spelling")
    refused("digts", "did you mean 'digits'?")
    (tmp_path / "photos").mkdir()
    refused("phtos/", "did you mean 'photos'?")
    refused(tmp_path / "none" / "at" / "all", "check the spelling")
    (tmp_path / "list.xlsx").write_bytes(b"")
    refused("list.xlsx", "not a folder, a .parquet, a .txt listing or a .csv file")
