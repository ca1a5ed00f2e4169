"""Processes that a launcher starts, on one machine or several: torchrun, or Slurm's srun.

Process 0 does the whole job as if it were alone, but for training, where the others join it. So a folder is made, written,
judged and reported once, however many processes there are. The folder must lie on a disk that all machines see.
"""

import functools
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jsonargparse import Namespace

from tailwise.distributed import Meeting
from tailwise.train import parse, same
from tailwise.train.engine import processes
from tailwise.train.recipe import Recipe
from tailwise.train.run import RECIPE, Run
from tailwise.types import TailwiseError

MASTER = 'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
"""What a job script says before srun."""


class Launch(NamedTuple):
    """What the launcher says of this process, and where it meets the others."""

    rank: int
    devices: int  # processes on this machine, and on each other one
    nodes: int
    meeting: Meeting


@functools.cache
def launched() -> Launch | None:
    """What the launcher says, None without one. The first call meets the other processes, or waits for them.

    Raises `TailwiseError` where it does not say enough.
    """
    env = os.environ
    slurm = "TORCHELASTIC_RUN_ID" not in env
    if slurm and int(env.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return None
    if slurm:
        if "MASTER_ADDR" not in env:
            raise TailwiseError(f"srun: nobody says where process 0 is; in the job script, {MASTER}")
        if "MASTER_PORT" not in env:
            env["MASTER_PORT"] = str(20000 + int(env["SLURM_JOB_ID"]) % 10000)
        names = {"RANK": "PROCID", "LOCAL_RANK": "LOCALID", "GROUP_RANK": "NODEID", "WORLD_SIZE": "STEP_NUM_TASKS"}
        env.update({name: env[f"SLURM_{theirs}"] for name, theirs in names.items()})  # as torchrun says them
    rank, world = int(env["RANK"]), int(env["WORLD_SIZE"])
    devices = world // int(env["SLURM_STEP_NUM_NODES"]) if slurm else int(env["LOCAL_WORLD_SIZE"])
    if world % devices:
        raise TailwiseError(f"{world} processes in all and {devices} on a machine; start as many on each")
    meeting = Meeting(rank, world, env["MASTER_ADDR"], int(env["MASTER_PORT"]), serves=slurm)
    return Launch(rank, devices, world // devices, meeting)


END = "end"
"""Said in place of a time, when there is nothing more to train."""


@contextmanager
def leading(folder: Path) -> Iterator[None]:
    """Around the job of process 0, which makes a run of the ``folder``: in the end the others are let go.

    Where it fails, the launcher ends them.
    """
    yield
    if launch := launched():
        launch.meeting.tell(f"{END} {folder.resolve()}")
        launch.meeting.part()


def call(folder: Path, until: float) -> None:
    """Tell the others to train the run in the ``folder`` too, ``until`` some `time.monotonic` of this process."""
    if launch := launched():
        launch.meeting.tell(f"{until - time.monotonic()} {folder.resolve()}")


def calls() -> Iterator[tuple[Path, float | None]]:
    """What process 0 calls the others to train, one after the other: the folder of a run, and until when.

    The last has no time: it is the run that all was for, and is finished.
    """
    launch = launched()
    while launch:
        left, folder = launch.meeting.hear().split(" ", 1)
        if not Path(folder).is_dir():
            raise TailwiseError(f"{folder}: process {launch.rank} does not see it; choose an --out that all machines see")
        yield Path(folder), None if left == END else time.monotonic() + float(left)
        if left == END:
            launch.meeting.part()
            return


def together(recipe: Recipe) -> AbstractContextManager[None]:
    """The group of all processes while they train, where a launcher started several."""
    launch = launched()
    return launch.meeting.group() if launch and processes(recipe.engine) > 1 else nullcontext()


def shared_out(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe for the processes that there are: the global batch of a run stays what it began with.

    Raises `TailwiseError` where they cannot share it.
    """
    engine, launch = recipe.engine, launched()
    here = replace(engine, devices=launch.devices, nodes=launch.nodes) if launch else replace(engine, nodes=1)
    whole = (recipe.batch_size or 1) * processes(engine)
    if whole % processes(here):
        raise TailwiseError(
            f"{folder}: began with {processes(engine)} processes, {whole} samples a step, which {processes(here)} cannot "
            "share; start as many as then"
        )
    return replace(recipe, engine=here, batch_size=whole // processes(here))


def has_begun(folder: Path, overwrite: bool) -> bool:
    """Whether the ``folder`` holds a run already, under a launcher, which may start a command again.

    Raises `TailwiseError` for ``overwrite``, which would begin anew each time.
    """
    if launched() is None:
        return False
    if overwrite:
        raise TailwiseError("--overwrite: a launcher that starts again would lose the run; delete the folder, or name another")
    return (folder / RECIPE).is_file()


def as_launched(record: Namespace) -> Namespace:
    """The record with the devices and machines that the launcher says."""
    if launch := launched():
        record = record.clone()
        record.engine.devices, record.engine.nodes = launch.devices, launch.nodes
    return record


def check_begun(record: Namespace, folder: Path) -> None:
    """Refuse a folder that was begun with another recipe: other numbers of processes share its batches, and of a time limit
    the epochs were planned."""
    asked, then = (same.settings(text) for text in (parse.dump(record), Run(folder).recipe_text))
    planned = ("epochs", "steps", "schedule") if record.max_minutes else ()
    if other := same.changed(then, asked, "engine.devices", "engine.nodes", *planned):
        raise TailwiseError(f"{folder}: holds a run with another recipe ({other}); choose another --out")


def is_follower() -> bool:
    """Whether another process leads, and this one is to follow its `calls`."""
    launch = launched()
    return launch is not None and launch.rank > 0
