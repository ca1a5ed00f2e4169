"""Queues of recent keys: `ClassQueue` with a ring per class, `FifoQueue` with one ring for all.

A ring per class keeps rare classes represented (Suh & Seo, ICML 2023); one ring has the classes in the shares of the
training data (He et al., CVPR 2020).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tailwise.distributed import gather_keys
from tailwise.types import TailwiseError


class Keys(NamedTuple):
    """The filled rows of a queue, sorted by class."""

    keys: Tensor  # (K', d)
    labels: Tensor  # (K',) int64
    index: Tensor  # type: ignore[assignment]  # (K',) int64, the sample that a key was made from
    offsets: Tensor  # (C + 1,) int64: class c holds rows offsets[c] : offsets[c + 1]
    filled: Tensor  # (C,) int64: rows per class


class ClassQueue(nn.Module):
    """Rings of ``slots[c]`` keys of width ``dim`` for every class c, all of it in buffers.

    A slot starts unfilled and absent: `read` returns only what was pushed. Every process holds the same queue, because
    `push` gathers the keys of all ranks in rank order.
    """

    rows: Tensor
    index: Tensor
    slots: Tensor
    pushed: Tensor

    def __init__(self, slots: Tensor, dim: int) -> None:
        super().__init__()
        if slots.ndim != 1 or bool((slots < 1).any()):
            raise TailwiseError("queue: every class needs at least one slot; use counts.allocate")
        size = int(slots.sum())
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("index", torch.full((size,), -1))
        self.register_buffer("slots", slots.to(torch.int64).clone())
        self.register_buffer("pushed", torch.zeros_like(slots, dtype=torch.int64))  # ever, per class

    @torch.no_grad()
    def push(self, keys: Tensor, labels: Tensor, index: Tensor) -> None:
        """Store keys (N, d) with their labels (N,) and sample indices (N,), overwriting each ring's oldest.

        Equal N on every rank; labels outside 0..C-1 (IGNORE) are dropped. O(N log N).
        """
        keys, labels, index = gather_keys(keys), gather_keys(labels), gather_keys(index)
        valid = (labels >= 0) & (labels < self.slots.numel())
        keys, labels, index = keys[valid], labels[valid], index[valid]
        labels, order = torch.sort(labels, stable=True)
        counts = torch.bincount(labels, minlength=self.slots.numel())
        rank = torch.arange(labels.numel(), device=labels.device) - (counts.cumsum(0) - counts)[labels]
        lasting = counts[labels] - rank <= self.slots[labels]  # earlier ones would be overwritten within this push
        labels, order, rank = labels[lasting], order[lasting], rank[lasting]
        start = self.slots.cumsum(0) - self.slots
        slot = start[labels] + (self.pushed[labels] + rank) % self.slots[labels]
        self.rows[slot] = keys[order].to(self.rows.dtype)
        self.index[slot] = index[order]
        self.pushed += counts

    def read(self) -> Keys:
        """The filled rows, class after class."""
        filled = torch.minimum(self.pushed, self.slots)
        classes = torch.arange(self.slots.numel(), device=self.slots.device)
        labels = classes.repeat_interleave(self.slots)
        place = torch.arange(labels.numel(), device=labels.device) - (self.slots.cumsum(0) - self.slots)[labels]
        valid = place < filled[labels]
        offsets = torch.cat([filled.new_zeros(1), filled.cumsum(0)])
        return Keys(self.rows[valid], labels[valid], self.index[valid], offsets, filled)


class FifoQueue(nn.Module):
    """One ring of the last ``size`` keys of width ``dim`` over all ``classes``: labels and indices travel with them.

    It starts empty, as `ClassQueue` does, and is the same on every process.
    """

    rows: Tensor
    labels: Tensor
    index: Tensor
    pushed: Tensor

    def __init__(self, size: int, dim: int, classes: int) -> None:
        super().__init__()
        if size < 1:
            raise TailwiseError(f"queue: needs at least one slot, got {size}")
        self.classes = classes
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("index", torch.full((size,), -1))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))  # ever

    @torch.no_grad()
    def push(self, keys: Tensor, labels: Tensor, index: Tensor) -> None:
        """As `ClassQueue.push`. O(N)."""
        keys, labels, index = gather_keys(keys), gather_keys(labels), gather_keys(index)
        valid = (labels >= 0) & (labels < self.classes)
        size = self.rows.shape[0]
        given = int(valid.sum())
        keys, labels, index = (x[valid][-size:] for x in (keys, labels, index))  # earlier ones would be overwritten
        slot = (self.pushed + given - labels.numel() + torch.arange(labels.numel(), device=labels.device)) % size
        self.rows[slot], self.labels[slot], self.index[slot] = keys.to(self.rows.dtype), labels, index
        self.pushed += given

    def read(self) -> Keys:
        """The filled rows, class after class."""
        labels, order = torch.sort(self.labels, stable=True)
        labels, order = labels[labels >= 0], order[labels >= 0]
        filled = torch.bincount(labels, minlength=self.classes)
        offsets = torch.cat([filled.new_zeros(1), filled.cumsum(0)])
        return Keys(self.rows[order], labels, self.index[order], offsets, filled)
