"""A bench on a Ray cluster: each run is a task on one of its machines, which share the file system of the runs."""

import importlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailwise.train.machine import PATIENCE, Process
from tailwise.train.plan import Cell
from tailwise.types import TailwiseError

PAUSE = 0.2
"""Seconds between two looks at a run."""
INTERRUPTED = 130


class Task:
    """A run on some machine of the cluster."""

    def __init__(self, ray: Any, task: Any) -> None:
        self.ray, self.task = ray, task
        self.lost = False
        self.ended: tuple[int, str] | None = None

    def poll(self) -> int | None:
        """See `tailwise.train.machine.Job`."""
        if self.ended is None and self.ray.wait([self.task], timeout=0)[0]:
            self.ended = self._result()
        return None if self.ended is None else self.ended[0]

    def reason(self) -> str:
        """See `tailwise.train.machine.Job`."""
        return self.ended[1] if self.ended else "still running"

    def interrupt(self) -> None:
        """See `tailwise.train.machine.Job`."""
        self.ray.cancel(self.task)

    def end(self) -> None:
        """See `tailwise.train.machine.Job`."""
        if not self.ray.wait([self.task], timeout=PATIENCE)[0]:
            self.ray.cancel(self.task, force=True)

    def _result(self) -> tuple[int, str]:
        known = self.ray.exceptions
        try:
            code, reason = self.ray.get(self.task)
            return code, reason
        except known.TaskCancelledError:
            return INTERRUPTED, "interrupted; the same command continues it"
        except (known.NodeDiedError, known.WorkerCrashedError, known.LocalRayletDiedError):
            self.lost = True
            return 1, "its machines were lost; the same command continues it"
        except known.RayError as error:
            said = [line for line in str(error).splitlines() if line.strip()]
            return 1, f"Ray: {said[-1].strip() if said else type(error).__name__}"


class Cluster:
    """Machines that Ray joins at an ``address``: as many runs at a time as they have room for.

    A run takes ``1 / jobs`` of a GPU, or of the CPU cores of the smallest machine where none has a GPU. Ray queues what finds
    no room. Raises `TailwiseError` where Ray is not installed, and where there is no cluster at the address.
    """

    def __init__(self, address: str, jobs: int) -> None:
        try:
            self.ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise TailwiseError("bench: a cluster needs Ray; run pip install 'tailwise[cluster]'") from error
        try:
            self.ray.init(address, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
        except (ConnectionError, RuntimeError, ValueError) as error:
            said = str(error).strip().splitlines()
            advice = "start one with `ray start --head`, and name its address, or auto on one of its machines"
            raise TailwiseError(f"bench: no Ray cluster at {address!r} ({said[0] if said else error}); {advice}") from error
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cores = min((int(machine["CPU"]) for machine in machines if machine.get("CPU")), default=1)
        gpus = any(machine.get("GPU") for machine in machines)
        self.threads = 1 if gpus else max(cores // jobs, 1)
        share = {"num_gpus": 1 / jobs} if gpus else {}
        # not Ray's retries: a run that has begun is continued, with other words
        self.run = self.ray.remote(max_retries=0, num_cpus=self.threads, **share)(run)

    def room(self) -> bool:
        """Always: Ray queues."""
        return True

    def start(self, cell: Cell) -> Task:
        """See `tailwise.train.machine.Place`."""
        return Task(self.ray, self.run.remote(cell, Path.cwd(), sys.path, self.threads))

    def close(self) -> None:
        """Leave the cluster."""
        self.ray.shutdown()


def run(cell: Cell, here: Path, path: Sequence[str], threads: int) -> tuple[int, str]:
    """What a machine of the cluster does: the run as a process; its exit code, and why it failed.

    ``here`` and ``path`` are the working folder and ``sys.path`` of the bench. A cancelled task interrupts its run.
    """
    try:
        os.chdir(here)
        shared = cell.folder.parent.is_dir()
    except OSError:
        shared = False
    if not shared:
        advice = "start the bench in a folder, and with an --out, that all machines of the cluster share"
        return 1, f"{platform.node()}: {here / cell.folder.parent} is not there; {advice}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": str(threads)}
    process = Process(cell, environment)
    try:
        while process.poll() is None:
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        process.interrupt()
    process.end()
    code = process.process.returncode
    return code, process.reason() if code else ""
