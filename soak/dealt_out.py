"""A queue that is dealt out over processes: what it holds, and how much of it each of them."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.multiprocessing as mp
from torch import Tensor

from soak.record import Part
from tailwise.counts import allocate
from tailwise.queue import ClassQueue, ShardedClassQueue
from tailwise.types import IGNORE

SLOTS = allocate([500, 120, 30, 8, 1], 1024, 4)


def share_of(rank: int, world: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a rank pushes: its share of 64 keys of 16 numbers, some of them without a label."""
    draw = torch.Generator().manual_seed(step)
    keys, labels = torch.randn(64, 16, generator=draw), torch.randint(-1, len(SLOTS), (64,), generator=draw)
    mine = slice(rank * 64 // world, (rank + 1) * 64 // world)
    return keys[mine], labels[mine].where(labels[mine] >= 0, torch.tensor(IGNORE)), torch.arange(64)[mine] + 64 * step


def queues(rank: int, world: int, worlds: Sequence[int], folder: str, steps: int) -> None:
    """Half of the pushes, the state saved; then the other half, from the state that half or twice as many processes saved."""
    from contract.processes import dist

    dist.init_process_group("gloo", f"file://{folder}/queues{world}", rank=rank, world_size=world)
    queue = ShardedClassQueue(SLOTS, 16)
    for step in range(steps):
        queue.push(*share_of(rank, world, step))
        if step == steps // 2:
            torch.save(queue.state_dict(), f"{folder}/half{world}_{rank}.pt")
    stored = queue.rows.untyped_storage().nbytes() + queue.index.untyped_storage().nbytes()
    ends = {"state": queue.state_dict(), "bytes": torch.tensor(stored)}
    for other in worlds:
        if Path(f"{folder}/half{other}_0.pt").is_file():
            queue.load_state_dict(torch.load(f"{folder}/half{other}_0.pt", weights_only=True))
            for step in range(steps // 2 + 1, steps):
                queue.push(*share_of(rank, world, step))
            ends[f"from {other}"] = queue.state_dict()
    torch.save(ends, f"{folder}/queue{world}_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def sharded_queue(part: Part, worlds: Sequence[int], steps: int, folder: Path) -> None:
    """The queue that is dealt out against the whole one, its memory, and its state over other numbers of processes."""
    whole = ClassQueue(SLOTS, 16)
    for step in range(steps):
        whole.push(*share_of(0, 1, step))
    everything = whole.rows.nbytes + whole.index.nbytes
    for world in worlds:
        mp.start_processes(queues, (world, str(folder), steps), nprocs=world, start_method="spawn")
    rows, states = [], []
    for world in worlds:
        ends = [torch.load(folder / f"queue{world}_{rank}.pt", weights_only=True) for rank in range(world)]
        held = [int(end["bytes"]) for end in ends]
        rows.append(
            {"processes": world, "bytes of each": ", ".join(map(str, held)), "of the whole": f"{max(held) / everything:.4f}"}
        )
        states += [state for end in ends for key, state in end.items() if key != "bytes"]
    equal = all(torch.equal(state[key], value) for state in states for key, value in whole.state_dict().items())
    part.add(
        f"a queue that is dealt out holds what the whole one holds after {steps} pushes, also from states of 1, 2 and 4",
        "equal bit for bit",
        f"{'equal' if equal else 'different'}, {len(states)} states",
        equal,
        f"{int(SLOTS.sum())} slots, 64 keys a push, one in {len(SLOTS) + 1} without a label",
    )
    kept = all(float(row["of the whole"]) <= 1 / row["processes"] + 1 / int(SLOTS.sum()) for row in rows)
    part.add(
        "each of W processes holds 1 / W of its keys",
        "1 / W, to one slot",
        "; ".join(row["of the whole"] for row in rows),
        kept,
    )
    part.table("Bytes of keys and indices of a dealt-out queue", rows)
