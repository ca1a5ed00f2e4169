"""`ClassMeans`: the mean row of every class over the last epoch and the running one (Du et al., TPAMI 2024)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tailwise.counts import count_labels
from tailwise.distributed import global_sum
from tailwise.types import TailwiseError


class ClassMeans(nn.Module):
    """Running sums of the rows of each class, in float64, all of it in buffers and equal on every process.

    An epoch's sums are kept for the length of the next one, so that means are neither stale nor, early in an epoch,
    made of few rows. ``start`` (C, d) stands for the mean of a class of which there is no row yet, and weighs nothing.
    """

    start: Tensor
    sums: Tensor
    counts: Tensor
    epoch: Tensor

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        if start.ndim != 2:
            raise TailwiseError(f"class means: start with one row per class (C, d), got shape {tuple(start.shape)}")
        self.register_buffer("start", start.double())
        self.register_buffer("sums", torch.zeros(2, *start.shape, dtype=torch.float64))  # of the last epoch, of this one
        self.register_buffer("counts", torch.zeros(2, start.shape[0], dtype=torch.int64))
        self.register_buffer("epoch", torch.tensor(0))

    @torch.no_grad()
    def push(self, rows: Tensor, labels: Tensor) -> None:
        """Add rows (N, d) of all ranks under their labels (N,); labels outside 0..C-1 (IGNORE) are dropped."""
        valid = (labels >= 0) & (labels < self.start.shape[0])
        share = torch.zeros_like(self.start).index_add_(0, labels[valid], rows[valid].double())
        self.sums[1] += global_sum(share)
        self.counts[1] += global_sum(count_labels(labels, self.start.shape[0]))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ClassMeans":
        """Sums stay in float64 in a model of half precision, which could not count on."""

        def move(state: Tensor) -> Tensor:
            moved = fn(state)
            return moved if moved.dtype == state.dtype else state.to(moved.device)

        super()._apply(move, recurse)  # type: ignore[no-untyped-call]
        return self

    def turn(self, epoch: int) -> None:
        """Epoch ``epoch`` begins: what is running becomes the last. The epoch that already runs is not begun again."""
        if epoch == int(self.epoch):
            return
        for state in (self.sums, self.counts):
            state[0] = state[1]
            state[1] = 0
        self.epoch.fill_(epoch)

    def read(self) -> Tensor:
        """The means (C, d) float64, outside the graph."""
        counts = self.counts.sum(0)[:, None]
        return torch.where(counts > 0, self.sums.sum(0) / counts.clamp(min=1), self.start)
