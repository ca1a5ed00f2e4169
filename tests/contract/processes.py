"""The same few steps of training on one process with the whole batch and on several with contiguous shares of it."""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from contract.subjects import COUNTS, OBJECTIVES, arguments, build, loss_of
from tiny import MAPS, MODELS, batch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tailwise.losses import Balanced, Objective
from tailwise.task import Task
from tailwise.types import IGNORE, Batch

STEPS, BATCH = 3, 8
SHARES = {  # which of the eight samples are unlabelled, in each of the three steps
    "rows": ([], [], []),
    "images": ([], [], []),
    "pixels": ([0, 5], [], [1]),
    "dense": ([2], [7], []),
    "uneven": ([0, 1, 2, 5], [7], [3, 4]),
    "empty_ranks": ([0, 1, 2, 3], [6, 7], [4, 5, 6, 7]),
    "nobody": ([], list(range(BATCH)), [2]),
}
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-6}
SINGLE = ("pixels", "uneven", "nobody")  # which of them also run in float32
RUNS = [
    (cls, share, dtype)
    for cls in OBJECTIVES
    for share in SHARES
    for dtype in TOLERANCE
    if dtype == torch.float64 or share in SINGLE
]


@contextlib.contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def run_name(cls: type[Objective], share: str, dtype: torch.dtype) -> str:
    return f"{cls.__name__}-{share}-{str(dtype).removeprefix('torch.')}"


def whole_batch(share: str, step: int, views: int) -> Batch:
    kind = share if share in MODELS else "rows"
    shape = (BATCH, 8, 8) if kind in MAPS else (BATCH,)
    labels = torch.randint(0, len(COUNTS), shape, generator=torch.Generator().manual_seed(step))
    labels[SHARES[share][step]] = IGNORE
    return batch(kind, views, labels, seed=step, first=BATCH * step)


def my_share(given: Batch, rank: int, world: int) -> Batch:
    mine = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    return Batch(given.views[:, mine], given.labels[mine], given.index[mine], given.key[mine])


def distribute(task: Task) -> DistributedDataParallel:
    """Without the broadcast of buffers before each step, under the name that this torch gives it."""
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DistributedDataParallel(task, **{name: False})


def train(cls: type[Objective], share: str, dtype: torch.dtype, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    """The state and the losses after a few steps, without batch statistics."""
    with precision(dtype):
        options = {"pixels": Balanced(16)} if "pixels" in arguments(cls) else {}
        task = build(cls, share if share in MODELS else "rows", **options)
        for module in list(task.objective.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.modules.batchnorm._BatchNorm):
                    setattr(module, name, nn.Identity())
        engine = distribute(task) if world > 1 else task
        optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], 0.05, momentum=0.9)
        losses = []
        task.on_epoch(0, 1)
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = loss_of(engine, my_share(whole_batch(share, step, cls.views), rank, world))
            loss.backward()
            optimizer.step()
            task.on_step()
            losses.append(loss.detach())
        return {**task.state_dict(), "losses": torch.stack(losses)}


def work(rank: int, world: int, folder: str, runs: Sequence[tuple[type[Objective], str, torch.dtype]]) -> None:
    """One process of several: its runs, one after another."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous{world}", timedelta(minutes=2), rank=rank, world_size=world)
    states = {run_name(*run): train(*run, rank, world) for run in runs}
    torch.save(states, f"{folder}/{world}_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
