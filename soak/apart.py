"""What a job costs by its size: processor seconds and peak memory, each size in a process of its own."""

import gc
import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Row

Make = Callable[[int], Callable[[], Any]]
"""From a size to the job of that size, its inputs made."""


def measured(make: Make, sizes: Sequence[int]) -> list[Row]:
    """A row for each size: ``x``, processor ``seconds`` of all threads together, and ``MiB`` beyond the inputs, 1 at least.

    The processes are forked from this one, which should hold little: a peak counts from what its process had before.
    """
    fork, rows = multiprocessing.get_context("fork"), []
    for size in sizes:
        here, there = fork.Pipe(duplex=False)
        child = fork.Process(target=_cost, args=(make, size, there))
        child.start()
        there.close()
        rows.append({"x": size, **here.recv()})  # EOFError where it failed; it has said why
        child.join()
    return rows


def _cost(make: Make, size: int, answer: Connection) -> None:
    torch.set_num_threads(1)
    job = make(size)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    before, start = _status("VmRSS"), time.process_time()
    job()
    answer.send({"seconds": time.process_time() - start, "MiB": max(_status("VmHWM") - before, 1.0)})


def _status(key: str) -> float:
    """VmRSS or VmHWM of this process, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))
