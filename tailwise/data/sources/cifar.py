"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) through torchvision, which downloads them once and checks their MD5."""

from pathlib import Path

import torch
from torch import Tensor

from tailwise.data.source import Source, stacked_source
from tailwise.types import TailwiseError


def open_cifar(name: str, root: Path) -> Source:
    """``cifar10`` or ``cifar100``: 50,000 training and 10,000 test images, 32 × 32; downloaded to ``root`` if not there.

    Raises `TailwiseError` when they can be neither found nor downloaded.
    """
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        sets = {split: kind(root, train=split == "train", download=True) for split in ("train", "test")}
    except (OSError, RuntimeError) as error:  # no network, no space, or an MD5 that differs
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TailwiseError(
            f"{name}: cannot be downloaded to {root} ({reason}); check the network and the disk, or give a parquet copy"
        ) from error
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    for split, of_split in sets.items():
        pixels = torch.from_numpy(of_split.data).permute(0, 3, 1, 2).contiguous()
        parts[split] = (pixels, torch.tensor(of_split.targets))
    return stacked_source(name, sets["train"].classes, parts)
