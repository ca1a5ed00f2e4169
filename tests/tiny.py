"""Models of a few weights without any normalisation, and batches that fit them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tailwise import rng
from tailwise.types import Batch, DenseOutput, Output

FEATURES, SIDE, DIM = 5, 8, 6


class Rows(nn.Module):
    """Feature rows (V, B, 5)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dim, self.classes = DIM, classes
        self.backbone, self.head = nn.Linear(FEATURES, DIM), nn.Linear(DIM, classes)

    def forward(self, views: Tensor) -> Output:
        features = self.backbone(views).tanh()
        return Output(self.head(features), features, self.head.weight)


class Images(nn.Module):
    """Images (V, B, 3, 8, 8)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dim, self.classes = DIM, classes
        self.backbone, self.head = nn.Conv2d(3, DIM, 3, stride=2), nn.Linear(DIM, classes)

    def forward(self, views: Tensor) -> Output:
        features = self.backbone(views.flatten(0, 1)).tanh().mean((2, 3)).unflatten(0, views.shape[:2])
        return Output(self.head(features), features, self.head.weight)


class Pixels(nn.Module):
    """Images (V, B, 3, 8, 8) to logits for every pixel and features for every second."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dim, self.classes = DIM, classes
        self.backbone, self.head = nn.Conv2d(3, DIM, 3, stride=2, padding=1), nn.Linear(DIM, classes)

    def forward(self, views: Tensor) -> Output:
        maps = self.backbone(views.flatten(0, 1)).tanh()
        logits = self.head(F.interpolate(maps, scale_factor=2.0).movedim(1, -1))
        features = maps.movedim(1, -1)
        return Output(logits.unflatten(0, views.shape[:2]), features.unflatten(0, views.shape[:2]), self.head.weight)


class Dense(nn.Module):
    """Images (V, B, 3, 8, 8) to logits and features of cells of 4 x 4 pixels."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dim, self.classes = DIM, classes
        self.backbone, self.head = nn.Conv2d(3, DIM, 4, stride=4), nn.Linear(DIM, classes)

    def forward(self, views: Tensor) -> DenseOutput:
        features = self.backbone(views.flatten(0, 1)).tanh().movedim(1, -1).unflatten(0, views.shape[:2])
        return DenseOutput(self.head(features), features, self.head.weight, size=(SIDE, SIDE))


MODELS = {"rows": Rows, "images": Images, "pixels": Pixels, "dense": Dense}
MAPS = ("pixels", "dense")
"""Those whose labels are maps."""


def batch(kind: str, views: int, labels: Tensor, seed: int = 0, first: int = 0) -> Batch:
    """Random inputs for the labels (B,), (B, 8, 8) or (B, C); ``first`` is the first sample's index."""
    shape = (FEATURES,) if kind == "rows" else (3, SIDE, SIDE)
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(views, len(labels), *shape, generator=generator, dtype=torch.float64)
    index = torch.arange(len(labels)) + first
    return Batch(inputs.to(torch.get_default_dtype()), labels, index, rng.mix(seed, index))
