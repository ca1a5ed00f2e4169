"""All that tailwise knows about several processes. On one process every function is the identity.

The engine averages gradients over ranks, so a term is written as the mean over the *global* batch times the number of
ranks on each rank's share (`global_mean`), and what is gathered carries its true adjoint (`gather`).
"""

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tailwise.types import TailwiseError


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world() > 1 else 0


class _Gather(torch.autograd.Function):
    """All-gather along the first axis; backward sums every rank's gradient of this rank's share."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        return gather_keys(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous()
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def gather(x: Tensor) -> Tensor:
    """Rows of all ranks in rank order (world·N, …) for x (N, …) of equal N on every rank; with gradients."""
    return _Gather.apply(x) if world() > 1 else x


def gather_keys(x: Tensor) -> Tensor:
    """As `gather`, without a gradient: for what is stored, and for labels."""
    if world() == 1:
        return x
    x = x.detach().contiguous()
    shares = [torch.empty_like(x) for _ in range(world())]
    dist.all_gather(shares, x)
    return torch.cat(shares)


def positions(rows: Tensor) -> Tensor:
    """Where this rank's rows (N, …) lie among those that `gather` gives (N,) int64."""
    return torch.arange(rows.shape[0], device=rows.device) + rank() * rows.shape[0]


def global_sum(x: Tensor) -> Tensor:
    """Sum over ranks, outside the graph."""
    if world() == 1:
        return x.detach()
    total = x.detach().clone()
    dist.all_reduce(total)
    return total


class _Total(torch.autograd.Function):
    """All-reduce; backward sums every rank's gradient, since every rank used the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return global_sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return global_sum(grads[0])


def sum_over_ranks(x: Tensor) -> Tensor:
    """As `global_sum`, with gradients."""
    return _Total.apply(x) if world() > 1 else x


def global_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the global batch, scaled so that the engine's average over ranks is that mean.

    ``world · Σ_local w·v / Σ_global w``; a rank or a batch without weight gives a zero that stays in the graph. Values
    of zero weight must be finite.
    """
    weights = weights.to(values.dtype)
    total = global_sum(weights.sum())
    return world() * (values * weights).sum() / torch.where(total > 0, total, torch.ones_like(total))


class Meeting:
    """Where processes that a launcher started find each other: process 0 tells the others what to do, then all are a group.

    Process 0 serves a store at a free port and says which in the launcher's store at ``address:port``. That one outlives a
    restart, and with it what was said before, so what it says is believed only when the new store knows the same ``token``.
    ``serves`` is whether the launcher leaves that store to process 0, as Slurm does.
    """

    def __init__(self, rank: int, processes: int, address: str, port: int, serves: bool) -> None:
        self.rank, self.processes, self.said, self.groups = rank, processes, 0, 0
        self._known = dist.TCPStore(address, port, is_master=serves and rank == 0, wait_for_workers=False)
        if rank:
            self._store = self._found(address)
            return
        self._store = dist.TCPStore(address, 0, is_master=True, wait_for_workers=False)
        token = uuid.uuid4().hex
        self._store.set("token", token)
        self._known.set("tailwise", f"{self._store.port} {token}")

    def _found(self, address: str) -> dist.TCPStore:
        while True:  # the launcher ends this process where process 0 never comes
            port, token = self._known.get("tailwise").decode().split()
            with suppress(dist.DistError, OSError):
                socket.create_connection((address, int(port)), 2).close()  # quieter than a store that is not there
                store = dist.TCPStore(address, int(port), wait_for_workers=False, timeout=timedelta(seconds=2))
                if store.check(["token"]) and store.get("token").decode() == token:
                    store.set_timeout(timedelta(minutes=30))
                    return store
            time.sleep(0.2)

    def tell(self, message: str) -> None:
        """Of process 0, to all others."""
        self._store.set(f"said {self.said}", message)
        self.said += 1

    def hear(self) -> str:
        """The next message of process 0, however long that takes; raises `TailwiseError` where it has ended without one."""
        try:
            self._store.wait([f"said {self.said}"], timedelta(days=30))
            message: str = self._store.get(f"said {self.said}").decode()
        except dist.DistError as error:
            raise TailwiseError("process 0 has ended; it says why") from error
        self.said += 1
        return message

    def part(self) -> None:
        """Of all, at the end: process 0, which serves the store, waits until the others have heard its last message."""
        others = [f"parted {other}" for other in range(1, self.processes)]
        with suppress(dist.DistError):  # whoever has not heard it in a minute has ended
            self._store.wait(others, timedelta(minutes=1)) if self.rank == 0 else self._store.set(f"parted {self.rank}", "")

    @contextmanager
    def group(self) -> Iterator[None]:
        """Makes the processes one group (`world`) as long as it lasts."""
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        store = dist.PrefixStore(f"group {self.groups}", self._store)
        self.groups += 1
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.processes)
        yield
        dist.destroy_process_group()  # not after an error, when some may be gone: it could wait for them
