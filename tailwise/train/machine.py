"""Where a bench has its runs done: this machine, on which each is a process."""

import os
import signal
import subprocess
import sys
from typing import Protocol

from tailwise.train.plan import Cell

PATIENCE = 60.0
"""Seconds that an interrupted run gets to end by itself."""


class Job(Protocol):
    """A run that was started."""

    @property
    def lost(self) -> bool:
        """Whether the machine that did it is gone, so that it has to go on elsewhere."""

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""

    def reason(self) -> str:
        """Why it failed, in one line."""

    def interrupt(self) -> None:
        """Ask it to end; it keeps its last epoch."""

    def end(self) -> None:
        """Wait for it, and kill it after `PATIENCE` seconds."""


class Place(Protocol):
    """What does runs: `Machine`, or `tailwise.train.cluster.Cluster`."""

    def room(self) -> bool:
        """Whether another run can be started."""

    def start(self, cell: Cell) -> Job:
        """Begin or continue a run. Raises OSError where its log cannot be written."""

    def close(self) -> None:
        """Nothing more is started."""


class Process:
    """`tailwise fit` of a cell as a process of this machine; what it says is added to the cell's log."""

    lost = False

    def __init__(self, cell: Cell, environment: dict[str, str]) -> None:
        self.log = cell.log
        with self.log.open("ab") as log:
            self.start = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tailwise.cli", "fit", *cell.command()],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # an interrupt at the terminal reaches the bench, which passes it on once
            )

    def poll(self) -> int | None:
        """See `Job`."""
        return self.process.poll()

    def reason(self) -> str:
        """The signal that killed it, or the last line that it wrote."""
        code = self.process.returncode
        if code < 0:
            return f"killed by {signal.Signals(-code).name}; the same command continues it"
        said = self.log.read_bytes()[self.start :].decode("utf-8", "replace").splitlines()
        lines = [line for line in said if line.strip()]
        return lines[-1].strip().removeprefix("tailwise: ") if lines else f"ended with exit code {code}"

    def interrupt(self) -> None:
        """See `Job`."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """See `Job`."""
        try:
            self.process.wait(PATIENCE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self.process.kill()
            self.process.wait()


class Machine:
    """``jobs`` runs at a time on each GPU of this machine, or on its CPU where there is none."""

    def __init__(self, jobs: int) -> None:
        self.slots = _slots(jobs)
        self.taken: dict[int, Process] = {}

    def room(self) -> bool:
        """Whether a slot is free."""
        return bool(self._free())

    def start(self, cell: Cell) -> Process:
        """See `Place`."""
        at = self._free()[0]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        if self.slots[at]:
            environment["CUDA_VISIBLE_DEVICES"] = self.slots[at]
        if len(self.slots) > 1:  # else every run would take every core, which is many times slower
            environment["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // len(self.slots), 1))
        self.taken[at] = Process(cell, environment)
        return self.taken[at]

    def close(self) -> None:
        """Nothing to do."""

    def _free(self) -> list[int]:
        return [at for at in range(len(self.slots)) if at not in self.taken or self.taken[at].poll() is not None]


def _slots(jobs: int) -> list[str]:
    """``jobs`` places on each GPU, by its number; without any, ``jobs`` nameless ones."""
    import torch

    found = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (named[:found] or [str(gpu) for gpu in range(found)] or [""]) * jobs
