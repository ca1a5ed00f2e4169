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

from tailwise.distributed import global_sum
from tailwise.losses import Balanced, Objective
from tailwise.metrics import tally
from tailwise.task import Task
from tailwise.types import IGNORE, Batch

Run = tuple[type[Objective], str, torch.dtype]
BATCH = 8
SHARES: dict[str, Sequence[Sequence[int]]] = {  # which of the eight samples are unlabelled, in each of the three steps
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


def whole_batch(kind: str, step: int, views: int, unlabelled: Sequence[int]) -> Batch:
    shape = (BATCH, 8, 8) if kind in MAPS else (BATCH,)
    labels = torch.randint(0, len(COUNTS), shape, generator=torch.Generator().manual_seed(step))
    labels[list(unlabelled)] = IGNORE
    return batch(kind, views, labels, seed=step, first=BATCH * step)


def my_share(given: Batch, rank: int, world: int) -> Batch:
    mine = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    return Batch(given.views[:, mine], given.labels[mine], given.index[mine], given.key[mine])


def distribute(task: Task) -> DistributedDataParallel:
    """Without the broadcast of buffers before each step, under the name that this torch gives it."""
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DistributedDataParallel(task, **{name: False})


def train(
    cls: type[Objective],
    kind: str,
    unlabelled: Sequence[Sequence[int]],
    dtype: torch.dtype,
    rank: int = 0,
    world: int = 1,
    lr: float = 0.05,
) -> dict[str, Tensor]:
    """The state, the losses and the tally after a step for each entry of ``unlabelled``, without batch statistics."""
    with precision(dtype):
        options = {"pixels": Balanced(16)} if "pixels" in arguments(cls) else {}
        task = build(cls, kind, **options)
        for module in list(task.objective.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.modules.batchnorm._BatchNorm):
                    setattr(module, name, nn.Identity())
        engine = distribute(task) if world > 1 else task
        optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr, momentum=0.9)
        losses = []
        task.on_epoch(0, 1)
        for step, dropped in enumerate(unlabelled):
            optimizer.zero_grad()
            loss = loss_of(engine, my_share(whole_batch(kind, step, cls.views, dropped), rank, world))
            loss.backward()
            optimizer.step()
            task.on_step()
            losses.append(loss.detach())
        return {**task.state_dict(), "losses": torch.stack(losses), "tally": judged(task.eval(), kind, rank, world)}


def judged(task: Task, kind: str, rank: int, world: int) -> Tensor:
    """The tally over all ranks of further samples, dealt out to them: seven, and then three, so that a rank may have none."""
    total = torch.zeros(3, len(COUNTS), dtype=torch.int64)
    for samples in (7, 3):
        shape = (samples, 8, 8) if kind in MAPS else (samples,)
        labels = torch.randint(0, len(COUNTS), shape, generator=torch.Generator().manual_seed(samples))
        mine = slice(rank, None, world)
        if rank < samples:
            views = batch(kind, 1, labels, seed=99).views[:, mine]
            total += tally(task.model(views).at_labels().argmax(-1), labels[mine], len(COUNTS))
    return global_sum(total)


def train_run(run: Run, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    cls, share, dtype = run
    return train(cls, share if share in MODELS else "rows", SHARES[share], dtype, rank, world)


def work(rank: int, world: int, folder: str, runs: Sequence[Run]) -> None:
    """One process of several: its runs, one after another."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous{world}", timedelta(minutes=2), rank=rank, world_size=world)
    states = {run_name(*run): train_run(run, rank, world) for run in runs}
    torch.save(states, f"{folder}/{world}_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
