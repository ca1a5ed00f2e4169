"""How GML makes keys of the raw features that its queue holds."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from tailwise.losses.heads import Projection
from tailwise.losses.objective import require
from tailwise.queue import Held, Queue


class KeyProjection(nn.Module, ABC):
    """Takes a queue of raw features through a trainable head, at each step."""

    def prepare(self, slots: int, width: int) -> None:
        """Called once by the objective, with the slots of its queue and the width of its head."""

    @abstractmethod
    def forward(self, head: Projection, queue: Queue, pushed: Tensor) -> tuple[Tensor, Held]:
        """Unit keys (K', width) of what the queue holds; ``pushed`` are the slots that this step wrote."""


class Whole(KeyProjection):
    """All of the queue at each step, with gradient, so that no key is ever stale: as Suh & Seo (ICML 2023) publish it."""

    def forward(self, head: Projection, queue: Queue, pushed: Tensor) -> tuple[Tensor, Held]:
        """See `KeyProjection`. O(K) projections."""
        held = queue.held()
        return head(queue.rows[held.slots]), held


class HalfPrecision(Whole):
    """As `Whole`, the linear layers in bfloat16 whatever precision the engine has; unit length and loss stay in float32.

    Under an engine of bf16-mixed precision it changes nothing. Rows of float64 stay as they are.
    """

    def forward(self, head: Projection, queue: Queue, pushed: Tensor) -> tuple[Tensor, Held]:
        """See `KeyProjection`. O(K) projections."""
        with torch.autocast(queue.rows.device.type, dtype=torch.bfloat16):
            return super().forward(head, queue, pushed)


class Refresh(KeyProjection):
    """Each step a rotating ``share`` (0, 1] of the K slots, and what was just pushed; the other keys are those made last.

    Those enter as constants, so only the refreshed keys train the head. Every slot has its turn after at most
    ⌈K / max(round(share · K), 1)⌉ steps; one whose key was not made from the sample that it holds, as after a queue was
    loaded from elsewhere, has it at once. Batch statistics in the head are those of the refreshed rows: noisier than the
    whole queue's, but of the same classes, because the slots of a step are evenly spaced over the rings; the head's
    running statistics follow them. A share of 1 is `Whole`. Outside training every key is made anew and none is kept.
    """

    made: Tensor
    made_of: Tensor
    turn: Tensor

    def __init__(self, share: float = 0.25) -> None:
        super().__init__()
        self.share = share

    def prepare(self, slots: int, width: int) -> None:
        """See `KeyProjection`."""
        require(0 < self.share <= 1, f"Refresh: share must lie in (0, 1], got {self.share}")
        self.register_buffer("made", torch.zeros(slots, width))  # the key of every slot, as it was made last
        self.register_buffer("made_of", torch.full((slots,), -1))  # and of which sample, -1 for none
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64))

    def forward(self, head: Projection, queue: Queue, pushed: Tensor) -> tuple[Tensor, Held]:
        """See `KeyProjection`. O(share · K + pushed) projections."""
        held = queue.held()
        fresh = self.made_of != queue.index if self.training else torch.ones_like(queue.index, dtype=torch.bool)
        fresh[self._in_turn()] = fresh[pushed] = True
        places = fresh[held.slots].nonzero()[:, 0]
        made = head(queue.rows[held.slots[places]])
        keys = self.made[held.slots].to(made.dtype).index_copy_(0, places, made)  # of a copy
        if self.training:
            self.made[held.slots[places]] = made.detach().to(self.made.dtype)
            self.made_of[held.slots] = held.index
            self.turn += 1
        return keys, held

    def _in_turn(self) -> Tensor:
        """The slots of this step: evenly spaced, and all of them after as many steps as the widest space is long."""
        slots = len(self.made)
        count = max(round(self.share * slots), 1)
        return torch.arange(count, device=self.made.device) * slots // count + self.turn % -(-slots // count)
