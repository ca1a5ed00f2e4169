"""Which test images look like a training image, from what a model is shown of them while it is judged."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tailwise.survey.duplicates import ALIKE, clusters, pairs
from tailwise.survey.look import SIDE
from tailwise.types import Output

MOST = 100_000
"""Images of a split of which thumbnails are kept: 77 MB. Of more, none are compared."""


class Seen(nn.Module):
    """A model that keeps a thumbnail of every image that it is shown as first view, normalised with ``mean`` and ``std``."""

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = (255 * torch.tensor(values)[:, None, None] for values in (mean, std))
        self.parts: list[NDArray[np.uint8]] = []
        self.number, self.side = 0, 0

    def forward(self, views: Tensor) -> Output:
        """What the model says."""
        self.number, self.side = self.number + views.shape[1], max(views.shape[-2:])
        if self.number <= MOST:
            pixels = views[0].float() * self.std.to(views.device) + self.mean.to(views.device)
            small = F.adaptive_avg_pool2d(pixels.clamp(0, 255), SIDE).round().to(torch.uint8)
            self.parts.append(small.permute(0, 2, 3, 1).cpu().numpy())
        return cast(Output, self.model(views))

    @property
    def thumbnails(self) -> NDArray[np.uint8]:
        """(N, SIDE, SIDE, 3)."""
        return np.concatenate(self.parts)


def leaks(train: Seen, test: Seen) -> dict[str, Any] | None:
    """How many ``test`` images there are, how many of them are ``alike`` to a training image, and ``equal`` in thumbnail.

    Images of fewer than 16 pixels a side all look alike, so only equal ones count among them (``only_equal``), as in
    `tailwise.survey.alike.find`. Time and memory grow about as the number of images; None for more than `MOST` of a split.
    """
    if max(train.number, test.number) > MOST:
        return None
    tiny = test.side < SIDE
    limit = 0.0 if tiny else ALIKE
    thumbnails = np.concatenate([train.thumbnails, test.thumbnails])
    trained = np.arange(len(thumbnails)) < len(train.thumbnails)
    found = pairs(thumbnails, clusters(thumbnails, limit), trained, alike=limit)
    across = [pair for pair in found if trained[pair.first] and not trained[pair.second]]
    return {
        "test": int((~trained).sum()),
        "alike": len({pair.second for pair in across}),
        "equal": len({pair.second for pair in across if pair.difference == 0}),
        "only_equal": tiny,
    }
