"""How things are measured here: medians after warm-up, contestants in turn, and the peak of what torch allocates."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

Row = dict[str, Any]
"""One line of a table: column → value."""


def synchronise() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(contestants: Mapping[str, Callable[[], Any]], repeats: int = 7, warm_up: int = 2) -> dict[str, float]:
    """Median seconds of each function. They take turns, so that what else the machine does falls on all of them."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warm_up + repeats):
        for name, function in contestants.items():
            synchronise()
            start = time.perf_counter()
            function()
            synchronise()
            if turn >= warm_up:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_mib(function: Callable[[], Any]) -> float:
    """The most that torch has allocated at a time while the function runs, beyond what it had before, in MiB.

    On the CPU it is the running sum over the profiler's record of every allocation and release, so it is exact.
    """
    function()
    gc.collect()
    if torch.cuda.is_available():
        synchronise()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        synchronise()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / 2**20


def warm_allocator() -> None:
    """Make the C library keep what is freed, as it does after a training step: else small cases time page faults.

    glibc gives freed memory back, at a page fault each time, until it has once seen a larger block freed.
    """
    torch.empty(31 * 2**18).zero_()  # 31 MiB: above 32 MiB glibc does not learn


def slope(rows: list[Row], x: str = "x", y: str = "seconds") -> float:
    """The exponent of growth between the last two points: 1 is linear."""
    (x0, y0), (x1, y1) = ((row[x], row[y]) for row in rows[-2:])
    return math.log(y1 / y0) / math.log(x1 / x0)
