"""A ring per class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tailwise.counts import turns
from tailwise.queue.base import Held, Queue
from tailwise.queue.renewal import renewal
from tailwise.types import TailwiseError


class ClassQueue(Queue):
    """Rings of ``slots[c]`` keys of width ``dim`` for every class c, one after another in ``rows``.

    ``slots`` (C,) are whole numbers, at least 1; `counts.allocate` makes them of class counts: so many in all, a floor for
    every class. `push` takes keys with labels and the index of their samples, `read` gives `Keys`::

        queue = ClassQueue(counts.allocate([5000, 300, 12], size=1024, floor=2), dim=128)
        queue.push(keys, labels, index)  # (N, 128), (N,), (N,)
        queue.read().keys                # (K', 128), sorted by class
    """

    slots: Tensor
    pushed: Tensor
    labels: Tensor
    place: Tensor
    start: Tensor

    def __init__(self, slots: Tensor | Sequence[int], dim: int) -> None:
        slots = torch.as_tensor(slots)
        if slots.ndim != 1 or slots.is_floating_point() or bool((slots < 1).any()):
            raise TailwiseError("queue: every class needs at least one slot, in whole numbers; use counts.allocate")
        super().__init__(int(slots.sum()), dim)
        self.register_buffer("slots", slots.to(torch.int64).clone())
        self.register_buffer("pushed", torch.zeros_like(slots, dtype=torch.int64))  # ever, per class
        for name in ("labels", "place", "start"):  # they follow from `slots`, and are kept so that no step computes them
            self.register_buffer(name, torch.empty(0, dtype=torch.int64), persistent=False)
        self._lay_out()

    def _lay_out(self) -> None:
        """Class and place in its ring of every slot, and where the rings start."""
        classes = torch.arange(self.slots.numel(), device=self.slots.device)
        self.labels = classes.repeat_interleave(self.slots)
        self.start = self.slots.cumsum(0) - self.slots
        self.place = turns(self.slots)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._lay_out()  # for the slots that were loaded

    @torch.no_grad()
    def push(self, keys: Tensor, labels: Tensor, index: Tensor, share: float = 1.0) -> Tensor:
        """As `Queue.push`. O(N (d + log N)), whatever the number of classes and slots; with a share also O(K log N)."""
        keys, labels, index = self._gather(keys, labels, index)
        kept = ((labels >= 0) & (labels < self.slots.numel())).nonzero()[:, 0]
        kept, renewed = self._renew(kept, keys, labels, index, share) if share < 1 else (kept, kept[:0])
        labels, order = torch.sort(labels[kept], stable=True)
        classes, counts = torch.unique_consecutive(labels, return_counts=True)
        count = counts.repeat_interleave(counts)
        turn = turns(counts)
        lasting = count - turn <= self.slots[labels]  # earlier ones would be overwritten within this push
        labels, kept, turn = labels[lasting], kept[order][lasting], turn[lasting]
        slot = self.start[labels] + (self.pushed[labels] + turn) % self.slots[labels]
        self.pushed.index_add_(0, classes, counts)
        return torch.cat([renewed, self._store(slot, keys[kept], index[kept])])

    def _renew(self, kept: Tensor, keys: Tensor, labels: Tensor, index: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Writes what goes to slots that a sample holds already; returns which keys are left, and the slots written."""
        ring, place, made_of = self._layout()
        filled = (place < self.pushed[ring]).nonzero()[:, 0]
        ring, place, made_of = ring[filled], place[filled], made_of[filled]
        age = (place - self.pushed[ring]) % self.slots[ring]
        todo = renewal(labels[kept], index[kept], filled, ring, made_of, age, self.slots, share)
        by = kept[todo.by]
        rows = torch.cat([self._rows_of(todo.source), keys[by].to(self.rows.dtype)])
        return kept[todo.rest], self._store(todo.slots, rows, todo.index)

    def _layout(self) -> tuple[Tensor, Tensor, Tensor]:
        """Class, place in its ring, and sample of every slot (K,)."""
        return self.labels, self.place, self.index

    def _rows_of(self, slots: Tensor) -> Tensor:
        return self.rows[slots]

    def _store(self, slot: Tensor, keys: Tensor, index: Tensor) -> Tensor:
        self.rows[slot], self.index[slot] = keys.to(self.rows.dtype), index
        return slot

    def held(self) -> Held:
        """As `Queue.held`."""
        filled = torch.minimum(self.pushed, self.slots)
        if torch.equal(filled, self.slots):
            slots, labels = torch.arange(self.labels.numel(), device=self.labels.device), self.labels
        else:
            slots = (self.place < filled[self.labels]).nonzero()[:, 0]
            labels = self.labels[slots]
        return Held(slots, labels, self.index[slots], filled)
