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

from soak import distance, machines
from soak.dealt_out import sharded_queue
from soak.record import Part

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the models, batches and processes of the contract

WORLDS = (1, 2, 4)
KINDS = ("images", "dense")
"""Images with a class each, and images of which every pixel has one."""
ASKED = {torch.float64: 1e-9, torch.float32: 1e-6}
ROUND = ([], [0, 1, 2, 5], [], [0, 1, 2, 3], [7], [4, 5, 6, 7], [3, 4], [], [1, 2, 3, 4, 5, 6, 7], list(range(8)))
"""Who of a step's eight samples is unlabelled, in ten steps: shares are uneven, ranks are empty, and in one step all are."""
RATE = 0.002
"""Of SGD with momentum 0.9: weights move by what the tables say, and rounding is not blown up on the way, as at 0.05."""


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
    held, own = distance.as_read(ends[0]), distance.as_read(alone)
    moved = max(distance.of_numbers(held[key], own[key]) for key in state if own[key].numel())
    return moved, distance.of_numbers(torch.stack([end["losses"] for end in ends]).mean(0), alone["losses"]), same


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
            f"these hardly move: {', '.join(still)}"
            if still
            else "any number x, y of any rank: |x - y| / max(1, |y|); "
            f"ProCo's running sums as the means that it reads of them. SGD at a rate of {RATE}: at 0.05 rounding is blown up, "
            "float64 to 3.1e-11 and float32 to 2.8e-3 with two processes (GMLSharded)",
        )
    part.add(
        "ranks hold the same numbers, bit for bit, and their tallies of seven and of three samples are those of one process",
        "equal",
        "equal" if same else "different",
        same,
        "samples are dealt out without padding; with four processes one of them has none of the three",
    )
    part.table(f"Largest difference after {steps} steps, by objective; moved: how far the weights went", rows)


def commands(part: Part, folder: Path) -> None:
    """`tailwise fit` with 1, 2 and 4 processes, then on two machines with processes killed."""
    for processes in WORLDS:
        if not (folder / f"fit{processes}" / "result.json").is_file():
            machines.fit(folder / f"fit{processes}", processes)
    rows = []
    for processes in WORLDS[1:]:
        found = machines.difference(folder / "fit1", folder / f"fit{processes}")
        rows.append(
            {
                "processes": processes,
                "weights": f"{found['weights']:.1e}",
                "queue": f"{found['queue']:.1e}",
                "numbers of the queue": f"{found['numbers of the queue']:.1e}",
                "log": f"{found['log']:.1e}",
                **agreement(found),
            }
        )
    kept = all(max(float(row["weights"]), float(row["queue"])) <= 1e-6 and row["figures"] == "equal" for row in rows)
    kept &= all(float(row["log"]) <= 2e-6 for row in rows)
    part.add(
        "tailwise fit --engine.devices 1, 2 and 4: weights, queue, log, looks at validation and result.json",
        "within 1e-6, figures equal",
        "; ".join(f"{row['processes']}: {row['weights']}, queue {row['queue']}, figures {row['figures']}" for row in rows),
        kept,
        f"float32, {machines.EPOCHS} epochs of GML with a dealt-out queue on the digits; of a row x, y of the queue "
        "‖x - y‖ / max(1, ‖y‖), for its features are not normalised (its numbers stand in the table); the log has six digits",
    )
    part.table("Runs of the command against that of one process", rows)
    with machines.two_machines():
        agents = machines.torchrun(folder / "machines", folder)
        killed = machines.kill_within_epochs(agents, folder / "machines", (1, 0), 900)
        codes = machines.ended(agents, 900)
    done = (folder / "machines" / "result.json").is_file()
    found = (
        machines.difference(folder / "fit2", folder / "machines")
        if done
        else {"weights": math.inf, "queue": 0, "figures": ["none"]}
    )
    furthest = max(found["weights"], found["numbers of the queue"])
    part.add(
        "two machines (network namespaces), torchrun across them, a process of each killed within an epoch and started again",
        "bit-equal to the undisturbed run",
        f"killed after the checkpoints of steps {killed}, exit codes {codes}, checkpoint {furthest:.1e} apart, "
        f"figures {agreement(found)['figures']}",
        len(killed) == 2 and codes == [0, 0] and furthest == 0 and not found["figures"],
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
        sharded_queue(found, WORLDS, options.steps, folder)
        commands(found, folder)
    found.write()
