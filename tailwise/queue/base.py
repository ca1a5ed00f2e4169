"""What every queue can do, and what is read from it."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tailwise.distributed import gather_keys
from tailwise.types import TailwiseError


class Held(NamedTuple):
    """Which slots of a queue are filled, sorted by class, and with what; the rows themselves are ``queue.rows[slots]``."""

    slots: Tensor
    """(K',) int64: places in ``rows``."""
    labels: Tensor
    """(K',) int64: the class of each key, ascending."""
    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    """(K',) int64: the sample that each key was made from."""
    filled: Tensor
    """(C,) int64: keys per class, over all ranks where they share a queue."""


class Keys(NamedTuple):
    """The filled rows of a queue, sorted by class; the other fields as in `Held`."""

    keys: Tensor
    """(K', d), a copy."""
    labels: Tensor
    """(K',) int64."""
    index: Tensor  # type: ignore[assignment]
    """(K',) int64."""
    offsets: Tensor
    """(C + 1,) int64: class c holds the places offsets[c] : offsets[c + 1] of the K'."""
    filled: Tensor
    """(C,) int64."""


class Queue(nn.Module, ABC):
    """``size`` slots for keys of width ``dim``, in buffers; a slot starts unfilled and absent. Every process holds the same."""

    rows: Tensor
    index: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if min(size, dim) < 1:
            raise TailwiseError(f"queue: {size} slots of width {dim}; give at least one slot, and the width of the keys")
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("index", torch.full((size,), -1))

    @abstractmethod
    def push(self, keys: Tensor, labels: Tensor, index: Tensor, share: float = 1.0) -> Tensor:
        """Store keys (N, d) with their labels (N,) and sample indices (N,), overwriting the oldest.

        The ``index`` says which sample of the data set a key was made from, so that a loss can leave a query's own keys out.
        Equal N on every rank: `push` gathers the keys of all ranks in rank order. Labels outside 0..C-1 (IGNORE) are
        dropped. Returns the slots of ``rows`` that were written. What is no tensor, other shapes, and labels or indices that
        are not integers raise `TailwiseError` before anything is written; the values of keys are not looked at.

        With a ``share`` below 1 one sample never holds more than that part of a ring, or one slot: its keys beyond that
        replace its own oldest ones. It is for samples that give many keys, as an image gives pixels.
        """

    @abstractmethod
    def held(self) -> Held:
        """What is filled, without its rows."""

    def read(self) -> Keys:
        """The filled rows, class after class: a copy, which a backward pass may need after the next push."""
        slots, labels, index, filled = self.held()
        return Keys(self.rows[slots], labels, index, offsets(labels, filled.numel()), filled)

    def vitals(self) -> dict[str, Tensor]:
        """For `tailwise.doctor.vitals`: the share of this process's slots that is ``filled``, and ``marks`` (K,) of the slots.

        A mark is the sum of a slot's row, NaN while it is unfilled.
        """
        slots = self.held().slots
        marks = torch.full((len(self.rows),), torch.nan, dtype=torch.float64, device=self.rows.device)
        marks[slots] = self.rows[slots].double().sum(1)
        return {"filled": torch.tensor(len(slots) / len(self.rows)), "marks": marks}

    def _gather(self, keys: Tensor, labels: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `push` was given on all ranks, checked on this one."""
        if strange := [type(x).__name__ for x in (keys, labels, index) if not isinstance(x, Tensor)]:
            raise TailwiseError(f"queue: pushed a {strange[0]}; give tensors, torch.as_tensor(...)")
        rows = (len(keys), self.rows.shape[1])
        if keys.shape != rows or labels.shape != rows[:1] or index.shape != rows[:1]:
            shapes = ", ".join(str(tuple(x.shape)) for x in (keys, labels, index))
            raise TailwiseError(f"queue: pushed {shapes}; give keys (N, {rows[1]}), labels (N,) and index (N,)")
        if labels.is_floating_point() or index.is_floating_point():
            raise TailwiseError(f"queue: pushed labels {labels.dtype} and index {index.dtype}; give integers")
        return gather_keys(keys), gather_keys(labels.long()), gather_keys(index.long())


def offsets(labels: Tensor, classes: int) -> Tensor:
    """Where each class (C + 1,) begins in sorted labels."""
    return torch.searchsorted(labels, torch.arange(classes + 1, device=labels.device))
