"""A few processes on this machine that train together."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _work(rank: int, world: int, folder: str, job: Callable[[], Any]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet{world}", timedelta(minutes=1), rank=rank, world_size=world)
    torch.save(job(), f"{folder}/{world}_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def together(world: int, folder: Path, job: Callable[[], Any]) -> list[Any]:
    """What ``job()`` gives on each rank of several forked processes; one world of a size per folder."""
    mp.start_processes(_work, (world, str(folder), job), nprocs=world, start_method="fork")
    return [torch.load(folder / f"{world}_{rank}.pt", weights_only=True) for rank in range(world)]
