"""Queues of recent keys: `ClassQueue` with a ring per class, `FifoQueue` with one ring for all.

A ring per class keeps rare classes represented (Suh & Seo, ICML 2023); one ring has the classes in the shares of the
training data (He et al., CVPR 2020). `ShardedClassQueue` is a `ClassQueue` that several processes hold together.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tailwise.distributed import gather_keys, rank, world
from tailwise.types import TailwiseError


class Held(NamedTuple):
    """Which slots of a queue are filled, sorted by class, and with what; the rows themselves are ``queue.rows[slots]``."""

    slots: Tensor  # (K',) int64 into ``rows``
    labels: Tensor  # (K',) int64
    index: Tensor  # type: ignore[assignment]  # (K',) int64, the sample that a key was made from
    filled: Tensor  # (C,) int64: keys per class, over all ranks where they share a queue


class Keys(NamedTuple):
    """The filled rows of a queue, sorted by class; the other fields as in `Held`."""

    keys: Tensor  # (K', d)
    labels: Tensor
    index: Tensor  # type: ignore[assignment]
    offsets: Tensor  # (C + 1,) int64: class c holds the places offsets[c] : offsets[c + 1] of the K'
    filled: Tensor


class Queue(nn.Module, ABC):
    """Slots for keys, all of it in buffers; a slot starts unfilled and absent. Every process holds the same queue."""

    rows: Tensor
    index: Tensor

    @abstractmethod
    def push(self, keys: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Store keys (N, d) with their labels (N,) and sample indices (N,), overwriting the oldest.

        Equal N on every rank: `push` gathers the keys of all ranks in rank order. Labels outside 0..C-1 (IGNORE) are
        dropped. Returns the slots of ``rows`` that were written. Other shapes, and labels or indices that are not
        integers, raise `TailwiseError` before anything is written.
        """

    @abstractmethod
    def held(self) -> Held:
        """What is filled, without its rows."""

    def read(self) -> Keys:
        """The filled rows, class after class: a copy, which a backward pass may need after the next push."""
        slots, labels, index, filled = self.held()
        return Keys(self.rows[slots], labels, index, _offsets(labels, filled.numel()), filled)

    def _gather(self, keys: Tensor, labels: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `push` was given on all ranks, checked on this one."""
        rows = (len(keys), self.rows.shape[1])
        if keys.shape != rows or labels.shape != rows[:1] or index.shape != rows[:1]:
            shapes = ", ".join(str(tuple(x.shape)) for x in (keys, labels, index))
            raise TailwiseError(f"queue: pushed {shapes}; give keys (N, {rows[1]}), labels (N,) and index (N,)")
        if labels.is_floating_point() or index.is_floating_point():
            raise TailwiseError(f"queue: pushed labels {labels.dtype} and index {index.dtype}; give integers")
        return gather_keys(keys), gather_keys(labels.long()), gather_keys(index.long())


class ClassQueue(Queue):
    """Rings of ``slots[c]`` keys of width ``dim`` for every class c, one after another in ``rows``."""

    slots: Tensor
    pushed: Tensor
    labels: Tensor
    place: Tensor
    start: Tensor

    def __init__(self, slots: Tensor, dim: int) -> None:
        super().__init__()
        if slots.ndim != 1 or bool((slots < 1).any()):
            raise TailwiseError("queue: every class needs at least one slot; use counts.allocate")
        size = int(slots.sum())
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("index", torch.full((size,), -1))
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
        self.place = torch.arange(self.labels.numel(), device=self.slots.device) - self.start[self.labels]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._lay_out()  # for the slots that were loaded

    @torch.no_grad()
    def push(self, keys: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """As `Queue.push`. O(N (d + log N)), whatever the number of classes and slots."""
        keys, labels, index = self._gather(keys, labels, index)
        kept = ((labels >= 0) & (labels < self.slots.numel())).nonzero()[:, 0]
        labels, order = torch.sort(labels[kept], stable=True)
        classes, counts = torch.unique_consecutive(labels, return_counts=True)
        count = counts.repeat_interleave(counts)
        turn = torch.arange(labels.numel(), device=labels.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        lasting = count - turn <= self.slots[labels]  # earlier ones would be overwritten within this push
        labels, kept, turn = labels[lasting], kept[order][lasting], turn[lasting]
        slot = self.start[labels] + (self.pushed[labels] + turn) % self.slots[labels]
        self.pushed.index_add_(0, classes, counts)
        return self._store(slot, keys[kept], index[kept])

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


class ShardedClassQueue(ClassQueue):
    """A `ClassQueue` of which each of W processes holds every W-th slot: memory and projection per process are 1/W.

    Slot s lies on rank s mod W, so that every ring is dealt out evenly and ranks differ by one row at most. `push` gathers
    and each rank stores what is its own; `held` and `read` give this rank's keys, with ``filled`` counted over all ranks.
    On one process it is a `ClassQueue`. It is built and loaded whole and dealt out when it is first used by several
    processes, after the engine's initial broadcast; buffers must not be broadcast before each step.

    ``state_dict`` is that of the whole queue, so a run goes on with any number of processes. Taking it is a collective:
    every rank must call it.
    """

    shards = 1
    """How many processes the rows are dealt out to now."""

    def push(self, keys: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """As `ClassQueue.push`; returns the slots written on this rank."""
        self._shard()
        return super().push(keys, labels, index)

    def held(self) -> Held:
        """As `Queue.held`, of this rank."""
        self._shard()
        return super().held()

    @torch.no_grad()
    def _shard(self) -> None:
        if self.shards == world():
            return
        if self.shards > 1:
            raise TailwiseError(f"queue: dealt out to {self.shards} processes, now there are {world()}; load its state_dict")
        self.shards = world()
        for buffer in (self.rows, self.index):  # in place: an engine that holds the buffer must not keep the whole alive
            buffer.set_(buffer[rank() :: self.shards].clone())  # type: ignore[call-overload]
        self._lay_out()

    def _lay_out(self) -> None:
        super()._lay_out()
        if self.shards > 1:
            self.labels, self.place = (x[rank() :: self.shards].clone() for x in (self.labels, self.place))

    def _store(self, slot: Tensor, keys: Tensor, index: Tensor) -> Tensor:
        mine = slot % self.shards == rank()
        return super()._store(slot[mine] // self.shards, keys[mine], index[mine])

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in ("rows", "index") if self.shards > 1 else ():
            destination[prefix + name] = self._whole(destination[prefix + name])

    def _whole(self, mine: Tensor) -> Tensor:
        """The buffer of all ranks in the order of its slots."""
        size = int(self.slots.sum())
        each = -(-size // self.shards)
        padded = torch.cat([mine, mine.new_zeros(each - len(mine), *mine.shape[1:])])
        return gather_keys(padded).reshape(self.shards, each, *mine.shape[1:]).transpose(0, 1).flatten(0, 1)[:size]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        if self.shards > 1:
            size, self.shards = int(self.slots.sum()), 1
            for buffer in (self.rows, self.index):
                buffer.set_(buffer.new_zeros(size, *buffer.shape[1:]))  # type: ignore[call-overload]
        super()._load_from_state_dict(*args, **kwargs)


class FifoQueue(Queue):
    """One ring of the last ``size`` keys of width ``dim`` over all ``classes``: labels and indices travel with them."""

    labels: Tensor
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
    def push(self, keys: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """As `Queue.push`. O(N d)."""
        keys, labels, index = self._gather(keys, labels, index)
        valid = (labels >= 0) & (labels < self.classes)
        size = self.rows.shape[0]
        given = int(valid.sum())
        keys, labels, index = (x[valid][-size:] for x in (keys, labels, index))  # earlier ones would be overwritten
        slot = (self.pushed + given - labels.numel() + torch.arange(labels.numel(), device=labels.device)) % size
        self.rows[slot], self.labels[slot], self.index[slot] = keys.to(self.rows.dtype), labels, index
        self.pushed += given
        return slot

    def held(self) -> Held:
        """As `Queue.held`."""
        labels, slots = torch.sort(self.labels, stable=True)
        labels, slots = labels[labels >= 0], slots[labels >= 0]
        return Held(slots, labels, self.index[slots], _offsets(labels, self.classes).diff())


def _offsets(labels: Tensor, classes: int) -> Tensor:
    """Where each class (C + 1,) begins in sorted labels."""
    return torch.searchsorted(labels, torch.arange(classes + 1, device=labels.device))
