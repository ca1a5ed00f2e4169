"""Exact parallelism: several processes train as one.

python -m soak.parallel --steps 30
"""

import argparse
import functools
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor

from soak import machines
from soak.record import Part
from tailwise.counts import allocate
from tailwise.queue import ClassQueue, ShardedClassQueue
from tailwise.types import IGNORE

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the models, batches and processes of the contract

WORLDS = (1, 2, 4)
KINDS = ("images", "dense")
"""Images with a class each, and images of which every pixel has one."""
ASKED = {torch.float64: 1e-9, torch.float32: 1e-6}
ROUND = ([], [0, 1, 2, 5], [], [0, 1, 2, 3], [7], [4, 5, 6, 7], [3, 4], [], [1, 2, 3, 4, 5, 6, 7], list(range(8)))
"""Who of a step's eight samples is unlabelled, in ten steps: shares are uneven, ranks are empty, and in one step all are."""
RATE = 0.002
"""Of SGD with momentum 0.9: weights move by what the tables say, and rounding is not blown up on the way, as at 0.05."""
SLOTS = allocate([500, 120, 30, 8, 1], 1024, 4)
"""Of the queue that is dealt out."""


def unlabelled(steps: int) -> list[list[int]]:
    """Of each step."""
    return [ROUND[step % len(ROUND)] for step in range(steps)]


def name(cls: type, kind: str, dtype: torch.dtype) -> str:
    """Of a run in the files that processes leave."""
    return f"{cls.__name__} {kind} {dtype}"


def work(rank: int, world: int, folder: str, steps: int) -> None:
    """One process of several: every objective, one after another."""
    from contract.processes import dist, train
    from contract.subjects import OBJECTIVES

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet{world}", rank=rank, world_size=world)
    ends = {}
    for cls in OBJECTIVES:
        for kind in KINDS:
            for dtype in ASKED:
                ends[name(cls, kind, dtype)] = train(cls, kind, unlabelled(steps), dtype, rank, world, RATE)
        if rank == 0:
            print(f"{world} processes: {cls.__name__}", flush=True)
    torch.save(ends, f"{folder}/{world}_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def apart(ends: Sequence[dict[str, Tensor]], alone: dict[str, Tensor]) -> tuple[float, float, bool]:
    """The largest difference of the state and of the losses, and whether tallies and all that ranks hold are the same."""
    state = {key for key in alone if key not in ("losses", "tally")}
    same = all(end.keys() == alone.keys() and torch.equal(end["tally"], alone["tally"]) for end in ends)
    same &= all(torch.equal(end[key], ends[0][key]) for end in ends for key in state)
    moved = max(farthest(ends[0][key], alone[key]) for key in state if alone[key].numel())
    return moved, farthest(torch.stack([end["losses"] for end in ends]).mean(0), alone["losses"]), same


def farthest(found: Tensor, expected: Tensor) -> float:
    """The largest |x - y| / max(1, |y|): of numbers above one their last digits are larger too."""
    apart = (found.double() - expected.double()).abs() / expected.double().abs().clamp(min=1)
    return float(apart.max())


def objectives(part: Part, steps: int, folder: Path) -> None:
    """Parameters, queues and metrics of every objective after some steps; what lies in the folder is not made again."""
    from contract.processes import precision
    from contract.subjects import OBJECTIVES, build

    for world in WORLDS:
        if not (folder / f"{world}_0.pt").is_file():
            mp.start_processes(work, (world, str(folder), steps), nprocs=world, start_method="spawn")
    load = functools.partial(torch.load, weights_only=True)
    ends = {w: [load(folder / f"{w}_{r}.pt") for r in range(w)] for w in WORLDS}
    rows, worst = [], dict.fromkeys(ASKED, 0.0)
    same, still = True, []
    for cls in OBJECTIVES:
        row: dict[str, Any] = {"objective": cls.__name__}
        for dtype in ASKED:
            for kind in KINDS:
                alone = ends[1][0][name(cls, kind, dtype)]
                found = [apart([end[name(cls, kind, dtype)] for end in ends[w]], alone) for w in WORLDS[1:]]
                largest = max(max(moved, losses) for moved, losses, _ in found)
                worst[dtype], same = max(worst[dtype], largest), same and all(equal for *_, equal in found)
                row[f"{kind}, {str(dtype).removeprefix('torch.')}"] = f"{largest:.1e}"
        with precision(torch.float64):
            before, after = build(cls, "images").state_dict(), ends[1][0][name(cls, "images", torch.float64)]
        moved = max(float((after[key] - before[key]).abs().max()) for key in before if key.startswith("model."))
        row["moved"] = f"{moved:.2f}"
        still += [cls.__name__] if moved < 1e-3 else []
        rows.append(row)
    what = f"{len(OBJECTIVES)} objectives on images and on pixels, {steps} steps"
    for dtype, bound in ASKED.items():
        part.add(
            f"1, 2 and 4 processes have the same parameters, queues and losses, {str(dtype).removeprefix('torch.')}",
            f"{what}, within {bound:g}",
            f"{what}, at most {worst[dtype]:.1e} apart",
            worst[dtype] <= bound and not still,
            f"these hardly move: {', '.join(still)}" if still else "any number x, y of any rank: |x - y| / max(1, |y|)",
        )
    part.add(
        "ranks hold the same numbers, bit for bit, and their tallies of seven and of three samples are those of one process",
        "equal",
        "equal" if same else "different",
        same,
        "samples are dealt out without padding; with four processes one of them has none of the three",
    )
    part.table(f"Largest difference after {steps} steps, by objective; moved: how far the weights went", rows)


def share_of(rank: int, world: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a rank pushes: its share of 64 keys of 16 numbers, some of them without a label."""
    draw = torch.Generator().manual_seed(step)
    keys, labels = torch.randn(64, 16, generator=draw), torch.randint(-1, len(SLOTS), (64,), generator=draw)
    mine = slice(rank * 64 // world, (rank + 1) * 64 // world)
    return keys[mine], labels[mine].where(labels[mine] >= 0, torch.tensor(IGNORE)), torch.arange(64)[mine] + 64 * step


def queues(rank: int, world: int, folder: str, steps: int) -> None:
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
    for other in WORLDS:
        if Path(f"{folder}/half{other}_0.pt").is_file():
            queue.load_state_dict(torch.load(f"{folder}/half{other}_0.pt", weights_only=True))
            for step in range(steps // 2 + 1, steps):
                queue.push(*share_of(rank, world, step))
            ends[f"from {other}"] = queue.state_dict()
    torch.save(ends, f"{folder}/queue{world}_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def sharded_queue(part: Part, steps: int, folder: Path) -> None:
    """The queue that is dealt out against the whole one, its memory, and its state over other numbers of processes."""
    whole = ClassQueue(SLOTS, 16)
    for step in range(steps):
        whole.push(*share_of(0, 1, step))
    everything = whole.rows.nbytes + whole.index.nbytes
    for world in WORLDS:
        mp.start_processes(queues, (world, str(folder), steps), nprocs=world, start_method="spawn")
    rows, states = [], []
    for world in WORLDS:
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


def commands(part: Part, folder: Path) -> None:
    """`tailwise fit` with 1, 2 and 4 processes, then on two machines with processes killed."""
    for processes in WORLDS:
        if not (folder / f"fit{processes}" / "result.json").is_file():
            machines.fit(folder / f"fit{processes}", processes)
    rows = []
    for processes in WORLDS[1:]:
        found = machines.difference(folder / "fit1", folder / f"fit{processes}")
        rows.append(
            {"processes": processes, "checkpoint": f"{found['state']:.1e}", "log": f"{found['log']:.1e}", **agreement(found)}
        )
    kept = all(float(row["checkpoint"]) <= 1e-6 and float(row["log"]) <= 2e-6 and row["figures"] == "equal" for row in rows)
    part.add(
        "tailwise fit --engine.devices 1, 2 and 4: weights, queue, log, looks at validation and result.json",
        "within 1e-6, figures equal",
        "; ".join(f"{row['processes']}: {row['checkpoint']}, figures {row['figures']}" for row in rows),
        kept,
        f"float32, {machines.EPOCHS} epochs of GML with a dealt-out queue on the digits; the log is rounded to six digits",
    )
    part.table("Runs of the command against that of one process", rows)
    with machines.two_machines():
        agents = machines.torchrun(folder / "machines", folder)
        killed = machines.kill_within_epochs(agents, folder / "machines", (1, 0), 900)
        codes = machines.ended(agents, 900)
    done = (folder / "machines" / "result.json").is_file()
    found = machines.difference(folder / "fit2", folder / "machines") if done else {"state": math.inf, "figures": ["none"]}
    part.add(
        "two machines (network namespaces), torchrun across them, a process of each killed within an epoch and started again",
        "bit-equal to the undisturbed run",
        f"killed after the checkpoints of steps {killed}, exit codes {codes}, checkpoint {found['state']:.1e} apart, "
        f"figures {agreement(found)['figures']}",
        len(killed) == 2 and codes == [0, 0] and found["state"] == 0 and not found["figures"],
        "the undisturbed run is that of two processes on one machine",
    )


def agreement(found: dict[str, Any]) -> dict[str, str]:
    """Which figures of two results differ, in words."""
    return {"figures": ", ".join(found["figures"]) or "equal"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m soak.parallel")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=None, help="keep what processes leave there, and do not make it again")
    options = parser.parse_args()
    found = Part("parallel", "Exact parallelism")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        objectives(found, options.steps, folder)
        sharded_queue(found, options.steps, folder)
        commands(found, folder)
    found.write()
