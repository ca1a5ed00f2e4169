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
CACHE = 1 << 28
"""Bytes that no GPU's cache holds."""


def seconds(contestants: Mapping[str, Callable[[], Any]], repeats: int = 7, warm_up: int = 2) -> dict[str, float]:
    """Median seconds of each function. They take turns, so that what else the machine does falls on all of them."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    clock = by_gpu if torch.cuda.is_available() else by_host
    for turn in range(warm_up + repeats):
        for name, function in contestants.items():
            took = clock(function)
            if turn >= warm_up:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def by_host(function: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def by_gpu(function: Callable[[], Any]) -> float:
    """Seconds from a call to the end of all that it started on the GPU, whose cache was overwritten before."""
    event: Any = torch.cuda.Event
    start, end = event(enable_timing=True), event(enable_timing=True)
    torch.cuda.synchronize()
    torch.empty(CACHE, dtype=torch.int8, device="cuda").zero_()
    start.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def peak_mib(function: Callable[[], Any]) -> float:
    """The most that torch has allocated at a time while the function runs, beyond what it had before, in MiB.

    On the CPU it is the running sum over the profiler's record of every allocation and release, so it is exact.
    """
    function()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function()
    recorded: Any = profile.profiler
    events = [event for event in recorded.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / 2**20


def warm_allocator() -> None:
    """Make the C library keep what is freed, as it does after a training step: else small cases time page faults.

    glibc gives freed memory back, at a page fault each time, until it has once seen a larger block freed.
    """
    torch.empty(31 * 2**18).zero_()  # 31 MiB: above 32 MiB glibc does not learn


def slope(rows: list[Row], y: str = "seconds", x: str = "x") -> float:
    """The exponent of growth at the large end, by least squares through the last three points: 1 is linear."""
    points = [(math.log(row[x]), math.log(row[y])) for row in rows[-3:]]
    return statistics.linear_regression(*zip(*points, strict=True)).slope
