"""Many runs for one table: what is missing is trained, what was interrupted goes on, what is done is left alone."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tailwise.files import write_whole
from tailwise.report.bench import Row, html, markdown
from tailwise.train import parse
from tailwise.train.plan import Cell, plan
from tailwise.train.run import Run, is_locked
from tailwise.types import TailwiseError

PATIENCE = 60.0
"""Seconds that an interrupted run gets to end by itself."""
PAUSE = 0.2
"""Seconds between two looks at what runs."""


class Bench:
    """The state of a bench: which cells are done, failed, running or waiting."""

    def __init__(self, cells: Sequence[Cell], jobs: int) -> None:
        self.cells = list(cells)
        self.failed: dict[Cell, str] = {}
        self.told: set[Cell] = set()
        self.running: dict[subprocess.Popen[bytes], tuple[Cell, str, int]] = {}
        self.waiting = [cell for cell in cells if not self._settled(cell)]
        self.free = _slots(jobs)
        self.places = len(self.free)

    def step(self) -> bool:
        """Collect what has ended and start what can be started; whether the table has changed."""
        ended = [process for process in self.running if process.poll() is not None]
        for process in ended:
            cell, slot, start = self.running.pop(process)
            self.free.append(slot)
            if process.returncode != 0 and not cell.done and is_locked(cell.folder):  # another bench was quicker
                self.waiting.append(cell)
                continue
            if not cell.done:
                self.failed[cell] = _reason(process.returncode, _log(cell), start)
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
            elif self.free and all(need.done for need in cell.needs) and not self._elsewhere(cell):
                self.waiting.remove(cell)
                try:
                    self._start(cell)
                except OSError as error:
                    self.failed[cell] = f"{cell.folder}: cannot be written ({error.strerror}); choose another --out"
                    _say(cell, self.failed[cell])
        return bool(ended) or len(self.waiting) < before

    def stop(self) -> None:
        """Interrupt what runs and wait for it: each keeps its last epoch."""
        for process in self.running:
            process.send_signal(signal.SIGINT)
        for process in self.running:
            try:
                process.wait(PATIENCE)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()

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

    def _start(self, cell: Cell) -> None:
        slot = self.free[0]
        words = ["--resume", str(cell.folder)]
        if not cell.begun:
            words = ["--recipe", cell.recipe, "--out", str(cell.folder), *cell.words]
        _say(cell, "resumed" if cell.begun else "started")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        if slot:
            environment["CUDA_VISIBLE_DEVICES"] = slot
        if self.places > 1:  # else every run would take every core, which is many times slower
            environment["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // self.places, 1))
        cell.folder.parent.mkdir(parents=True, exist_ok=True)
        with _log(cell).open("ab") as log:
            start = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "tailwise.cli", "fit", *words],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # an interrupt at the terminal reaches us, and we pass it on once
            )
        self.running[process] = cell, self.free.pop(0), start


def bench(
    patterns: Sequence[str],
    *,
    seeds: Sequence[int],
    out: str | Path,
    jobs: int = 1,
    minutes: float = math.inf,
    overrides: Sequence[str] = (),
) -> list[Row]:
    """Run recipes × seeds, and write ``table.md`` and ``table.html`` into ``out`` whenever a run ends.

    ``patterns`` are names of shipped recipes, globs over them, or YAML files; ``overrides`` go to every run, such as
    ``--data.source=DIR``. A run lies in ``out/RECIPE/SEED``, its log beside it. Runs that others need, such as
    teachers, are trained once and shared. ``jobs`` run at a time on each GPU, or on the CPU where there is none. After
    ``minutes`` what runs is stopped as by an interrupt, and the same call goes on with it. A run that fails stands in
    the table with its reason and the others go on. Raises `TailwiseError` when nothing can be planned.
    """
    out = Path(out)
    cells, asked = plan(patterns, seeds, out, overrides)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TailwiseError(f"{out}: cannot be made ({error.strerror}); choose another --out") from error
    work, end = Bench(cells, jobs), time.monotonic() + 60 * minutes
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
            _write(out, work.rows(asked), overrides)
    return work.rows(asked)


def _write(out: Path, rows: Sequence[Row], overrides: Sequence[str]) -> None:
    write_whole(out / "table.md", markdown(rows, overrides).encode())
    write_whole(out / "table.html", html(rows, overrides).encode())


def _slots(jobs: int) -> list[str]:
    """``jobs`` places on each GPU, by its number; without any, ``jobs`` nameless ones."""
    import torch

    found = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (named[:found] or [str(gpu) for gpu in range(found)] or [""]) * jobs


def _log(cell: Cell) -> Path:
    return cell.folder.with_name(f"{cell.seed}.log")


def _reason(code: int, log: Path, start: int) -> str:
    """Why a run failed: the signal that killed it, or the last line that it wrote, from byte ``start`` of the log on."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}; the same command continues it"
    lines = [line for line in log.read_bytes()[start:].decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip().removeprefix("tailwise: ") if lines else f"ended with exit code {code}"


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
