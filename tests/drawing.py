"""An objective that draws from torch's own generator, as dropout does."""

import torch
from torch import Tensor

from tailwise.losses import GML
from tailwise.types import Batch, Output


class Drawing(GML):
    """GML whose terms are weighted anew in each step."""

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """See the class."""
        return {name: term * (0.5 + torch.rand(())) for name, term in super().forward(out, batch).items()}
