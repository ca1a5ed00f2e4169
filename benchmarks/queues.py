"""GML's queue: pushing a batch, and the projection of the queue at each step, whole and in the ways that save of it."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import Row, peak_mib, seconds, warm_allocator
from tailwise.losses import HalfPrecision, KeyProjection, Refresh, Whole
from tailwise.losses.heads import Projection
from tailwise.queue import ClassQueue

CLASSES, BATCHES = (10, 1000, 10_000, 100_000), (128, 1024)
PUSHED_WIDTH = 32
DENSE = 1 << 24
"""Above so large a one-hot matrix the published push is not tried: at 2²⁷ it takes seconds and 1.6 GiB."""
PROJECTED = ((4096, 64, 32, 128), (16384, 2048, 1024, 128))
"""Slots, width of a feature and of a key, batch: the published settings on CIFAR and on ImageNet-LT."""
QUARTERED = 1 << 34
"""Above so many multiplications in a pass, the CPU is given a quarter of queue and batch, and its times are fourfold."""


def dense_push(queue: ClassQueue, keys: Tensor, labels: Tensor, index: Tensor) -> None:
    """As the published code: places in the rings by a running sum over a one-hot matrix (B, C).

    It differs in that the newest keys of an overflowing class survive, not the oldest, so that results can be compared.
    """
    one_hot = F.one_hot(labels, queue.slots.numel())
    turn = one_hot.cumsum(0).gather(1, labels[:, None])[:, 0] - 1
    counts = one_hot.sum(0)
    lasting = counts[labels] - turn <= queue.slots[labels]
    start = queue.slots.cumsum(0) - queue.slots
    slot = start[labels] + (queue.pushed[labels] + turn) % queue.slots[labels]
    queue.rows[slot[lasting]], queue.index[slot[lasting]] = keys[lasting], index[lasting]
    queue.pushed += counts


def push_row(batch: int, classes: int, device: str) -> Row:
    """A push of a batch of random classes into two slots each."""
    made = torch.Generator().manual_seed(0)
    queues = [ClassQueue(torch.full((classes,), 2), PUSHED_WIDTH).to(device) for _ in range(2)]
    rows = torch.randn(batch, PUSHED_WIDTH, generator=made).to(device)
    labels, index = torch.randint(classes, (batch,), generator=made).to(device), torch.arange(batch, device=device)
    contestants: dict[str, Callable[[], object]] = {"ours": lambda: queues[0].push(rows, labels, index)}
    if batch * classes <= DENSE:
        contestants["dense"] = lambda: dense_push(queues[1], rows, labels, index)
        for _ in range(3):
            queues[0].push(rows, labels, index)
            dense_push(queues[1], rows, labels, index)
        for ours, dense in zip(*(queue.buffers() for queue in queues), strict=True):
            torch.testing.assert_close(ours, dense, rtol=0, atol=0)
    took = seconds(contestants, repeats=9)
    row = {"B": batch, "C": classes, **{f"{name} ms": round(1e3 * value, 3) for name, value in took.items()}}
    return row | {"dense / ours": round(took["dense"] / took["ours"], 1) if "dense" in took else "n/a"}


def step(projection: KeyProjection, head: Projection, queue: ClassQueue, pushed: Tensor) -> Callable[[], Tensor]:
    """Forward and backward of one projection; returns the gradient of the head's first layer."""
    projection.prepare(len(queue.rows), head.dim)
    projection, head = projection.to(queue.rows.device), copy.deepcopy(head)
    made = torch.Generator(queue.rows.device).manual_seed(0)
    pull = torch.randn(len(queue.rows), head.dim, device=queue.rows.device, generator=made)

    def once() -> Tensor:
        keys, _ = projection(head, queue, pushed)
        return torch.autograd.grad((keys * pull).sum(), list(head.parameters()))[0]

    return once


def filled(slots: int, features: int, batch: int, device: str) -> tuple[ClassQueue, Tensor]:
    """A queue without an empty slot, of which the last push wrote some."""
    queue = ClassQueue(torch.full((slots // 16,), 16), features).to(device)
    labels = torch.arange(slots // 16, device=device).repeat_interleave(16)
    queue.push(torch.randn(slots, features, device=device), labels, torch.arange(slots, device=device))
    return queue, queue.push(torch.randn(batch, features, device=device), labels[::16].repeat(16)[:batch], labels[:batch])


def projection_rows(case: tuple[int, int, int, int], device: str) -> list[Row]:
    """Every way to project a full queue of one setting, forward and backward."""
    slots, features, width, batch = case
    quarter = 4 if device == "cpu" and slots * features * (features + width) > QUARTERED else 1
    torch.manual_seed(0)
    head = Projection(features, width).to(device)
    queue, pushed = filled(slots // quarter, features, batch // quarter, device)
    shard, wrote = filled(slots // quarter // 4, features, batch // quarter // 4, device)
    ways = {
        "whole": step(Whole(), head, queue, pushed),
        "sharded, one of 4 ranks": step(Whole(), head, shard, wrote),
        "bf16": step(HalfPrecision(), head, queue, pushed),
        "refresh 1/4": step(Refresh(1 / 4), head, queue, pushed),
        "refresh 1/16": step(Refresh(1 / 16), head, queue, pushed),
    }
    torch.testing.assert_close(step(Refresh(1.0), head, queue, pushed)(), ways["whole"]())
    warm_allocator()
    took = seconds(ways, repeats=41 if quarter == 1 else 3, warm_up=1)
    copied = seconds({"copy": queue.read})["copy"]
    return [
        {
            "K, F, d": ", ".join(map(str, case[:3])),
            "way": name,
            "ms": round(1e3 * quarter * value, 2),
            "whole / it": round(took["whole"] / value, 2),
            "extra MiB": round(quarter * peak_mib(ways[name]), 1),
            "copying the rows, ms": round(1e3 * quarter * copied, 2) if name == "whole" else "",
        }
        for name, value in took.items()
    ]


def measure(device: str = "cpu") -> dict[str, list[Row]]:
    """Both tables."""
    return {
        "Pushing a batch into a class-wise queue": [push_row(b, c, device) for b in BATCHES for c in CLASSES],
        "Projecting the queue, forward and backward": [row for case in PROJECTED for row in projection_rows(case, device)],
    }


if __name__ == "__main__":
    for title, rows in measure().items():
        print(title, *rows, sep="\n")
