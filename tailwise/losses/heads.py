"""Projection heads: small networks between features and a contrastive loss, thrown away after training."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tailwise.distributed import global_sum, sum_over_ranks, world
from tailwise.types import TailwiseError

SHORT = 1e-4
"""Rows that are shorter than this have no direction: divided by it they stay shorter than unit rows, and their slope finite."""


def unit(rows: Tensor) -> Tensor:
    """z / max(‖z‖, `SHORT`), rows (…, d) to unit rows. A row of zeros stays; no slope is above 1 / `SHORT`.

    The usual floor of 1e-12 would make that 10¹²: more than half precision has, and more than a step survives.
    """
    return F.normalize(rows, dim=-1, eps=SHORT)


class RowNorm(nn.BatchNorm1d):
    """Batch normalisation over rows that uses its running statistics where a batch of one has none of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Rows (N, F) to rows (N, F), N ≥ 0."""
        if self.training and x.shape[0] < 2:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class SharedRowNorm(RowNorm):
    """As `RowNorm`, with the statistics of the rows of all ranks, of which each may hold another number, none included.

    Mean and then squared deviations are summed over ranks, with gradients: a rank's output depends on every rank's rows.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Rows (N, F) of this rank to rows (N, F); every rank must call it."""
        if world() == 1 or not self.training:
            return super().forward(x)
        rows = int(global_sum(torch.tensor(len(x), device=x.device)))
        if rows < 2:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = sum_over_ranks(wide.sum(0)) / rows
        centred = wide - mean
        variance = sum_over_ranks(centred.square().sum(0)) / rows
        self._follow(mean.detach(), variance.detach() * (rows / (rows - 1)))
        return (centred * (variance + self.eps).rsqrt() * self.weight + self.bias).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics."""
        for running, now in ((self.running_mean, mean), (self.running_var, variance)):
            cast(Tensor, running).lerp_(now, cast(float, self.momentum))
        cast(Tensor, self.num_batches_tracked).add_(1)


class Projection(nn.Module):
    """Linear, norm, ReLU, Linear, then unit length: rows (…, dim) to rows (…, width) on the sphere.

    ``norm`` builds the normalisation of the hidden layer from its width; ``nn.Identity`` leaves it out. Rows may be of any
    precision. Under autocast to float16 the layers stay in their own: its largest number is 65504, and a sum of features
    passes it long before they do. Layers of float16 themselves raise `TailwiseError`.
    """

    def __init__(self, dim: int, width: int, hidden: int | None = None, norm: Callable[[int], nn.Module] = RowNorm) -> None:
        super().__init__()
        self.dim, hidden = width, hidden or dim
        self.layers = nn.Sequential(nn.Linear(dim, hidden), norm(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of any number of leading axes; statistics are taken over all of them together."""
        flat, device, own = rows.flatten(0, -2), rows.device.type, next(self.parameters()).dtype
        if own == torch.float16:
            raise TailwiseError("Projection: float16 overflows in its layers; use autocast (16-mixed), or bfloat16")
        short = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) != torch.float16
        with torch.autocast(device, enabled=short):
            flat = self.layers(flat.to(own))
        with torch.autocast(device, enabled=False):
            made = self.onto_sphere(flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat)
        return made.reshape(*rows.shape[:-1], made.shape[-1])

    def onto_sphere(self, rows: Tensor) -> Tensor:
        """Rows (N, width) to unit rows."""
        return unit(rows)


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
