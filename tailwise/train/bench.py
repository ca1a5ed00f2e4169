"""Many runs for one table: what is missing is trained, what was interrupted goes on, what is done is left alone."""

import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tailwise.files import write_whole
from tailwise.report.bench import Row, html, markdown
from tailwise.train import parse
from tailwise.train.cluster import Cluster
from tailwise.train.machine import Job, Machine, Place
from tailwise.train.plan import Cell, plan
from tailwise.train.run import Run, is_locked
from tailwise.types import TailwiseError

PAUSE = 0.2
"""Seconds between two looks at what runs."""
LOSSES = 3
"""Machines that a run may lose: after so many it may be what takes them down."""


class Bench:
    """The state of a bench: which cells are done, failed, running or waiting."""

    def __init__(self, cells: Sequence[Cell], place: Place) -> None:
        self.cells, self.place = list(cells), place
        self.failed: dict[Cell, str] = {}
        self.told: set[Cell] = set()
        self.lost: Counter[Cell] = Counter()
        self.running: dict[Job, Cell] = {}
        self.waiting = [cell for cell in cells if not self._settled(cell)]

    def step(self) -> bool:
        """Collect what has ended and start what can be started; whether the table has changed."""
        ended = [job for job in self.running if job.poll() is not None]
        for job in ended:
            cell = self.running.pop(job)
            if not cell.done and self._again(cell, job):
                self.waiting.append(cell)
                continue
            if not cell.done:
                self.failed[cell] = job.reason()
            _say(cell, self.failed.get(cell, "done"))
        before = len(self.waiting)
        for cell in list(self.waiting):
            if broken := [need for need in cell.needs if need in self.failed]:
                self.waiting.remove(cell)
                self.failed[cell] = f"needs {broken[0].name}, which failed"
                _say(cell, self.failed[cell])
            elif cell.done:  # by another process
                self.waiting.remove(cell)
                _say(cell, "done")
            elif self.place.room() and all(need.done for need in cell.needs) and not self._elsewhere(cell):
                self.waiting.remove(cell)
                try:
                    self._start(cell)
                except OSError as error:
                    self.failed[cell] = f"{cell.folder}: cannot be written ({error.strerror}); choose another --out"
                    _say(cell, self.failed[cell])
        return bool(ended) or len(self.waiting) < before

    def stop(self) -> None:
        """Interrupt what runs and wait for it: each keeps its last epoch."""
        for job in self.running:
            job.interrupt()
        for job in self.running:
            job.end()

    def rows(self, asked: Sequence[str]) -> list[Row]:
        """The table so far: a row for each recipe that was asked for."""
        rows = []
        for name in dict.fromkeys(cell.name for cell in self.cells if cell.name in asked):
            cells = [cell for cell in self.cells if cell.name == name]
            about = next((about for cell in cells if (about := _about(cell)) is not None), {})
            results = [Run(cell.folder).result for cell in cells if cell not in self.failed and cell.done]
            failures = [f"seed {cell.seed}: {self.failed[cell]}" for cell in cells if cell in self.failed]
            rows.append(Row(name, about, results, failures))
        return rows

    def _settled(self, cell: Cell) -> bool:
        """Whether there is nothing to do: it is done, or cannot be."""
        try:
            if cell.refused:
                raise TailwiseError(cell.refused)
            if cell.begun and (difference := cell.difference()):
                raise TailwiseError(f"{cell.folder} holds another run: {difference}; delete it or choose another --out")
            if cell.done:
                _ = Run(cell.folder).result  # can be read
        except TailwiseError as error:
            self.failed[cell] = str(error)
            _say(cell, str(error))
            return True
        return cell.done

    def _elsewhere(self, cell: Cell) -> bool:
        """Whether another process writes the run, such as one that an earlier bench, killed itself, left behind."""
        if not is_locked(cell.folder):
            return False
        if cell not in self.told:
            _say(cell, "another process is writing this run; waiting for it")
            self.told.add(cell)
        return True

    def _again(self, cell: Cell, job: Job) -> bool:
        """Whether a run that ended early goes on by itself."""
        if job.lost:
            self.lost[cell] += 1
            if self.lost[cell] <= LOSSES:
                _say(cell, "its machine was lost; it goes on elsewhere")
                return True
        return job.poll() != 0 and is_locked(cell.folder)  # another bench was quicker

    def _start(self, cell: Cell) -> None:
        _say(cell, "resumed" if cell.begun else "started")
        cell.folder.parent.mkdir(parents=True, exist_ok=True)
        self.running[self.place.start(cell)] = cell


def bench(
    patterns: Sequence[str],
    *,
    seeds: Sequence[int],
    out: str | Path,
    jobs: int = 1,
    cluster: str | None = None,
    minutes: float = math.inf,
    overrides: Sequence[str] = (),
) -> list[Row]:
    """Run recipes × seeds, and write ``table.md`` and ``table.html`` into ``out`` whenever a run ends.

    ``patterns`` are names of shipped recipes, globs over them, or YAML files; ``overrides`` go to every run, such as
    ``--data.source=DIR``. A run lies in ``out/RECIPE/SEED``, its log beside it. Runs that others need, such as
    teachers, are trained once and shared. ``jobs`` run at a time on each GPU, or on the CPU where there is none. With
    the address of a ``cluster`` they run on the machines that Ray joins there, and go on elsewhere when one is lost. After
    ``minutes`` what runs is stopped as by an interrupt, and the same call goes on with it. A run that fails stands in
    the table with its reason and the others go on. Raises `TailwiseError` when nothing can be planned.
    """
    out = Path(out)
    cells, asked = plan(patterns, seeds, out, overrides)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TailwiseError(f"{out}: cannot be made ({error.strerror}); choose another --out") from error
    place = Machine(jobs) if cluster is None else Cluster(cluster, jobs)
    work, end = Bench(cells, place), time.monotonic() + 60 * minutes
    with _interruptible():
        try:
            while (work.running or work.waiting) and time.monotonic() < end:
                if work.step():
                    _write(out, work.rows(asked), overrides)
                time.sleep(PAUSE)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("give the same command again: it goes on where it stopped") from None
        finally:
            work.stop()
            place.close()
            _write(out, work.rows(asked), overrides)
    return work.rows(asked)


def _write(out: Path, rows: Sequence[Row], overrides: Sequence[str]) -> None:
    write_whole(out / "table.md", markdown(rows, overrides).encode())
    write_whole(out / "table.html", html(rows, overrides).encode())


def _say(cell: Cell, what: str) -> None:
    print(f"{cell.name} seed {cell.seed}: {what}", file=sys.stderr)


def _about(cell: Cell) -> dict[str, str] | None:
    try:
        return dict(parse.read(cell.recipe).get("about", {}))
    except TailwiseError:
        return None


@contextmanager
def _interruptible() -> Iterator[None]:
    """A notice to end, from a scheduler or a terminal that closes, is treated as an interrupt.

    Runs start with the interrupt that they are stopped by switched on, even where it is ignored here: a shell does so
    for what it starts in the background, and they would inherit that.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def ignore(signum: int, frame: FrameType | None) -> None:
        """Unlike `signal.SIG_IGN`, not inherited."""

    notices = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {notice: signal.getsignal(notice) for notice in notices}
    for notice, handler in before.items():
        signal.signal(notice, ignore if handler is signal.SIG_IGN else interrupt)
    try:
        yield
    finally:
        for notice, handler in before.items():
            signal.signal(notice, handler)
