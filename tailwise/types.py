"""The values that flow through tailwise: `Batch` goes in, `Output` comes out of a `Model`.

Shapes, here and everywhere: V views, B samples, C classes, D feature width, K keys, N drawn samples, ``*X`` the axes of
one input, ``*S`` the sample axes: ``(B,)`` for images and feature rows, ``(B, H, W)`` for pixels. Class and channel are
the last axis.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor

from tailwise.errors import TailwiseError as TailwiseError

IGNORE = -100
"""The label of a sample that takes part in nothing (torch's own convention)."""


class Batch(NamedTuple):
    """One step's input: B samples in V views each. All four are tensors on one device; integers may be of any width."""

    views: Tensor
    """(V, B, *X) V augmentations of the same B samples; X = (3, H, W) or (F,)."""
    labels: Tensor
    """(B,) or (B, H, W) integers in 0..C-1, or IGNORE; (B, C) floats for mixed targets, or for several labels per sample."""
    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    """(B,) integers: which training sample this is. A queue knows by it which of its keys were made from the same sample."""
    key: Tensor
    """(B,) integers: the random key of this draw, another one whenever a sample is drawn again: ``rng.mix(step, index)``.

    What an objective draws (the noise of GCL, the positives of KCL, pixels) is a function of it. A key that stays the same,
    as the index does, makes each sample's draw the same in every epoch."""


@dataclass(frozen=True)
class Output:
    """What a model says about the views it saw."""

    logits: Tensor
    """(V, *S, C); of a network for pixels (V, *s, C), as coarse as its features."""
    features: Tensor
    """(V, *s, D) what the classifier reads; s = (B,) or (B, h, w)."""
    classifier: Tensor
    """(C, D) the classifier's rows, in the graph, such as the ``weight`` of `torch.nn.Linear`."""
    scale: float = 1.0
    """Of a cosine classifier, what its cosines are multiplied by; 1 for a linear one."""

    @property
    def axes(self) -> tuple[int, ...]:
        """S, the sample axes that labels have: (B,) or (B, H, W)."""
        return tuple(self.logits.shape[1:-1])

    def at_labels(self, view: int = 0) -> Tensor:
        """(*S, C) the logits of one view, at the resolution of its labels."""
        return self.logits[view]

    def per_expert(self, view: int = 0) -> Tensor:
        """(E, *S, C) the same of each expert: of an ordinary model there is one."""
        return self.at_labels(view)[None]


@dataclass(frozen=True, kw_only=True)
class ExpertOutput(Output):
    """What several experts say: ``logits`` is their mean, ``features`` and ``classifier`` are theirs side by side."""

    experts: Tensor
    """(E, V, *S, C) the logits of each."""

    def per_expert(self, view: int = 0) -> Tensor:
        """See `Output`."""
        return self.experts[:, view]


@dataclass(frozen=True, kw_only=True)
class DenseOutput(Output):
    """What a network for pixels says: ``logits`` (V, B, h, w, C) become those of every pixel only where they are asked for."""

    size: tuple[int, int]
    """H, W."""
    covered: tuple[int, int] | None = None
    """Pixels that the h × w cells cover where they reach beyond the image."""

    @property
    def axes(self) -> tuple[int, ...]:
        """See `Output`: (B, H, W)."""
        return (self.logits.shape[1], *self.size)

    def at_labels(self, view: int = 0) -> Tensor:
        """(B, H, W, C), bilinear between the coarse ones; a view where the cells reach beyond the image."""
        coarse = self.logits[view].movedim(-1, 1)  # channels last, so that nothing is copied here, nor when it is flattened
        full = F.interpolate(coarse, self.covered or self.size, mode="bilinear").movedim(1, -1)
        return full[:, : self.size[0], : self.size[1]]


class Model(Protocol):
    """A backbone with its classifier: exactly what is deployed."""

    dim: int
    """D, the width of the features that the classifier reads."""
    classes: int
    """C."""

    def __call__(self, views: Tensor) -> Output:
        """Views (V, B, *X), all of them at once."""
        ...
