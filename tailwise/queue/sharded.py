"""A ring per class, shared out over processes."""

from typing import Any

import torch
from torch import Tensor

from tailwise.distributed import gather_keys, global_sum, rank, world
from tailwise.queue.base import Held
from tailwise.queue.classwise import ClassQueue
from tailwise.types import TailwiseError


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

    def push(self, keys: Tensor, labels: Tensor, index: Tensor, share: float = 1.0) -> Tensor:
        """As `ClassQueue.push`; returns the slots written on this rank."""
        self._shard()
        return super().push(keys, labels, index, share)

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

    def _layout(self) -> tuple[Tensor, Tensor, Tensor]:
        mine = super()._layout()
        return (self._whole(mine[0]), self._whole(mine[1]), self._whole(mine[2])) if self.shards > 1 else mine

    def _rows_of(self, slots: Tensor) -> Tensor:
        """On every rank, from those that hold them."""
        mine = slots % self.shards == rank()
        rows = self.rows.new_zeros(len(slots), self.rows.shape[1])
        rows[mine] = self.rows[slots[mine] // self.shards]
        return global_sum(rows)

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
