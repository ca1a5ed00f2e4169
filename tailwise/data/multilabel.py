"""Images with several labels or none: splits whose samples have a set of classes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tailwise.data.source import Split
from tailwise.types import TailwiseError


@dataclass(frozen=True, kw_only=True)
class MultiLabelSplit(Split):
    """Images with any number of labels each.

    The label of an image is its rarest class (`rarest_label`), or C where it has none, so what deals with one label works
    unchanged: a part that is held out has its share of every class.
    """

    positives: Tensor  # (N, C) float32 of 0 and 1

    def subset(self, indices: Tensor) -> "MultiLabelSplit":
        """As `Split`; labels stay those of the whole split."""
        part: dict[str, Any] = vars(super().subset(indices))
        return MultiLabelSplit(**part, positives=self.positives[indices])

    def targets(self, index: Tensor) -> Tensor:
        """(B, C) float32 of 0 and 1."""
        return self.positives[index]

    def counts(self, classes: int) -> Tensor:
        """Images with each class (C,) int64."""
        if self.positives.shape[1] != classes:
            raise TailwiseError(f"labels: the images have labels of {self.positives.shape[1]} classes, not {classes}")
        return self.positives.sum(0, dtype=torch.int64)


def indicators(labels: Sequence[Collection[int]], classes: int) -> Tensor:
    """(N, C) float32: 1 for each class in a sample's set, else 0."""
    made = torch.zeros(len(labels), classes)
    pairs = [(i, c) for i, of_one in enumerate(labels) for c in of_one]
    if pairs:
        rows, columns = torch.tensor(pairs).unbind(1)
        made[rows, columns] = 1
    return made


def rarest_label(positives: Tensor) -> Tensor:
    """(N,) int64: of the classes of each sample (N, C) the one that the fewest samples have, first of equals; C for none."""
    order = positives.sum(0).argsort(stable=True)
    found = order[(positives[:, order] > 0).byte().argmax(1)]
    return torch.where(positives.any(1), found, positives.shape[1])
