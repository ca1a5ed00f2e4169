"""Handwritten digits made long-tailed, for the examples: put your own data set in their place."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset

from tailwise import Batch, metrics, rng

PER_CLASS = [120, 86, 62, 44, 32, 23, 16, 12, 8, 6]
"""Training images of the digits 0 to 9."""


def load(enlarge: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images (409, 1, 8, 8) in [0, 1] and labels (409,), test images (497, 1, 8, 8) and labels (497,)."""
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 16, torch.from_numpy(digits)
    images = images.repeat_interleave(enlarge, 2).repeat_interleave(enlarge, 3)
    train = torch.cat([(labels[:1300] == c).nonzero()[:n, 0] for c, n in enumerate(PER_CLASS)])
    return images[train], labels[train], images[1300:], labels[1300:]


class Views(Dataset[dict[str, Any]]):
    """Samples with V augmented views (V, 1, 8, 8) each, here merely with noise; without V, one view as it is."""

    def __init__(self, images: Tensor, labels: Tensor, views: int = 0) -> None:
        self.images, self.labels, self.views = images, labels, views

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, Any]:
        image = self.images[i]
        views = [image + 0.15 * torch.randn_like(image) for _ in range(self.views)] or [image]
        return {"views": torch.stack(views), "labels": int(self.labels[i]), "index": i}


def collate(samples: list[dict[str, Any]]) -> Batch:
    """Samples to a `Batch`; every draw of a sample gets a random key."""
    labels, index = (torch.tensor([sample[name] for sample in samples]) for name in ("labels", "index"))
    views = torch.stack([sample["views"] for sample in samples], dim=1)  # (V, B, 1, 8, 8)
    return Batch(views, labels, index, rng.mix(torch.randint(2**62, ()), index))


def judge(model: nn.Module, images: Tensor, labels: Tensor, counts: Tensor) -> dict[str, Any]:
    """Balanced accuracy and more on the test images, by training counts."""
    model.eval()
    with torch.inference_mode():
        predictions = model(images[None]).at_labels().argmax(-1)
    found = metrics.summary(metrics.tally(predictions, labels, len(counts)), counts)
    return {name: found[name] for name in ("overall", "balanced", "many", "medium", "few")}


def options(epochs: int, out: str = "") -> Namespace:
    """What every example takes: ``--epochs``, and ``--out``, the folder of those that write one."""
    parser = ArgumentParser()
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--out", type=Path, default=out)
    return parser.parse_args()
