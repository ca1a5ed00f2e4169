"""One ring for all classes."""

import torch
from torch import Tensor

from tailwise.queue.base import Held, Queue, offsets
from tailwise.queue.renewal import renewal


class FifoQueue(Queue):
    """One ring of the last ``size`` keys of width ``dim`` over all ``classes``: labels and indices travel with them."""

    labels: Tensor
    pushed: Tensor

    def __init__(self, size: int, dim: int, classes: int) -> None:
        super().__init__(size, dim)
        self.classes = classes
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))  # ever

    @torch.no_grad()
    def push(self, keys: Tensor, labels: Tensor, index: Tensor, share: float = 1.0) -> Tensor:
        """As `Queue.push`. O(N d), with a share also O(K log N)."""
        keys, labels, index = self._gather(keys, labels, index)
        kept = ((labels >= 0) & (labels < self.classes)).nonzero()[:, 0]
        size, renewed = self.rows.shape[0], kept[:0]
        if share < 1:
            kept, renewed = self._renew(kept, keys, labels, index, share)
        self.pushed += len(kept)
        kept = kept[-size:]  # earlier ones would be overwritten
        slot = (self.pushed - len(kept) + torch.arange(len(kept), device=labels.device)) % size
        self.rows[slot], self.labels[slot], self.index[slot] = keys[kept].to(self.rows.dtype), labels[kept], index[kept]
        return torch.cat([renewed, slot])

    def _renew(self, kept: Tensor, keys: Tensor, labels: Tensor, index: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """As `ClassQueue._renew`, in the one ring."""
        filled = (self.labels >= 0).nonzero()[:, 0]
        ring, size = torch.zeros_like(self.labels), torch.full_like(self.pushed[None], len(self.rows))
        age = (filled - self.pushed) % size
        todo = renewal(ring[:1].expand(len(kept)), index[kept], filled, ring[filled], self.index[filled], age, size, share)
        by = kept[todo.by]
        self.labels[todo.slots] = torch.cat([self.labels[todo.source], labels[by]])
        self.rows[todo.slots] = torch.cat([self.rows[todo.source], keys[by].to(self.rows.dtype)])
        self.index[todo.slots] = todo.index
        return kept[todo.rest], todo.slots

    def held(self) -> Held:
        """As `Queue.held`."""
        labels, slots = torch.sort(self.labels, stable=True)
        labels, slots = labels[labels >= 0], slots[labels >= 0]
        return Held(slots, labels, self.index[slots], offsets(labels, self.classes).diff())
