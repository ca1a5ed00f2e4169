"""Handwritten digits: 1797 gray 8 × 8 images of ten classes, inside scikit-learn (Alpaydin & Kaynak, UCI, 1998)."""

import numpy as np
import torch

from tailwise.data.source import Source, stacked_source
from tailwise.rng import permutation

TEST_PER_CLASS = 40  # of 174 to 183: a balanced test set; 134 to 143 are left for training
_SEED = 8


def open_digits() -> Source:
    """The digits with a balanced test split of 40 images per class; pixels 0..16 become 0..255 in three channels."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    gray = torch.from_numpy(np.rint(raw.images * (255 / 16)).astype(np.uint8))
    pixels = gray[:, None].expand(-1, 3, -1, -1).contiguous()  # (1797, 3, 8, 8)
    labels = torch.from_numpy(raw.target.astype(np.int64))
    tested = torch.zeros(len(labels), dtype=torch.bool)
    for c in range(10):
        of_class = (labels == c).nonzero()[:, 0]
        tested[of_class[permutation(len(of_class), _SEED, c)[:TEST_PER_CLASS]]] = True
    parts = {"train": (pixels[~tested], labels[~tested]), "test": (pixels[tested], labels[tested])}
    return stacked_source("digits", [str(c) for c in range(10)], parts)
