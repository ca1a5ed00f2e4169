"""Projection heads: small networks between features and a contrastive loss, thrown away after training."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RowNorm(nn.BatchNorm1d):
    """Batch normalisation over rows that uses its running statistics where a batch of one has none of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Rows (N, F) to rows (N, F), N ≥ 0."""
        if self.training and x.shape[0] < 2:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class Projection(nn.Module):
    """Linear, norm, ReLU, Linear, then unit length: rows (…, dim) to rows (…, width) on the sphere.

    ``norm`` builds the normalisation of the hidden layer from its width; ``nn.Identity`` leaves it out.
    """

    def __init__(self, dim: int, width: int, hidden: int | None = None, norm: Callable[[int], nn.Module] = RowNorm) -> None:
        super().__init__()
        self.dim, hidden = width, hidden or dim
        self.layers = nn.Sequential(nn.Linear(dim, hidden), norm(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of any number of leading axes; statistics are taken over all of them together."""
        flat = self.layers(rows.flatten(0, -2))
        with torch.autocast(flat.device.type, enabled=False):
            unit = self.onto_sphere(flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat)
        return unit.reshape(*rows.shape[:-1], unit.shape[-1])

    def onto_sphere(self, rows: Tensor) -> Tensor:
        """Rows (N, width) to unit rows."""
        return F.normalize(rows, dim=-1)


class NonNegativeProjection(Projection):
    """As `Projection`, with a last ReLU before unit length: no entry is negative (Kini et al., ICLR 2024).

    A dead row, without an entry above `DEAD`, is zero after the ReLU: it has no direction, and no gradient to leave that
    state. It is mapped by softmax instead (our choice): also a unit row without negative entries, and its gradient
    raises the entries that the loss asks for until they are positive again.
    """

    DEAD = 1e-4

    def onto_sphere(self, rows: Tensor) -> Tensor:
        """Rows (N, width) to unit rows without negative entries."""
        dead = rows.amax(-1, keepdim=True) < self.DEAD
        return F.normalize(torch.where(dead, rows.softmax(-1), rows.relu()), dim=-1)
