"""Files from anybody: every reader is given changed bytes of valid files for half an hour, and may only read or refuse them.

python -m soak.files --minutes 30
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from soak.mutations import changed, changes, whole
from soak.readers import Reader, Refused, readers
from soak.record import Part
from tailwise.data.source import HARMLESS
from tailwise.types import TailwiseError

SECONDS, GIB = 10, 2
"""CPU seconds that one file may take, and memory beside what the process has anyway."""
STUCK = 240
"""Seconds of the clock after which a process that waits for something is ended."""
_RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "socket.connect")
_CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
    "shutil.rmtree",
)


class TooLong(BaseException):
    """The time of one file is over."""


class Watch:
    """What one process does: calls of other code, and files outside of its folder, seen by Python's audit events."""

    def __init__(self, folder: Path) -> None:
        self.inside, self.seen, self.armed = os.fspath(folder), list[str](), False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, what: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event in _RUNS:
            self.seen.append(f"{event} {str(what)[:80]}")
        writes = event == "open" and isinstance(what[2], int) and what[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes or event in _CHANGES) and isinstance(what[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(what[0]))
            if not path.startswith((self.inside, "/dev/null")):
                self.seen.append(f"{event} {path}")


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Inside, `TooLong` after so many seconds of this process."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def one(reader: Reader, content: bytes, work: Path, watch: Watch) -> tuple[str, str]:
    """What became of one file: "read", "refused", or the name of a finding, with what it says."""
    said: list[str] = []
    watch.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=UserWarning, module=HARMLESS)
        warnings.showwarning = lambda message, *_, **__: said.append(str(message))
        watch.armed = True
        try:
            with limited():
                reader.read(content, work)
            end, text = ("warning", said[0]) if said else ("read", "")
        except TailwiseError as error:
            end, text = ("refused", "") if len(str(error).splitlines()) == 1 else ("several lines", str(error))
        except Refused:
            end, text = "refused", ""
        except TooLong:
            end, text = "too long", f"more than {SECONDS} s"
        except Exception as error:  # what this looks for
            end, text = type(error).__name__, str(error)[:200]
        finally:
            watch.armed = False
    return ("did something", watch.seen[0]) if watch.seen else (end, text)


def drawn(use: Callable[[list[Any], int, bool], None], of: int, examples: int = 100) -> None:
    """Call ``use`` with changes, the number of a valid file, and whether they are of what is inside of it."""
    how = settings(
        max_examples=examples, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=HealthCheck
    )
    seed(of)(how(given(changes(), st.integers(0, 99), st.booleans())(use)))()


def slice_of(reader: Reader, number: int, until: float, work: Path, out: Path) -> None:
    """Files until the clock says so; what became of them is written to ``out`` after every hundred."""
    watch, ends, found, slowest = Watch(work), Counter[str](), dict[str, list[str]](), 0.0
    now = work / "now"

    def try_one(made: list[Any], which: int, inside: bool) -> None:
        nonlocal slowest
        if time.monotonic() > until:
            return
        content, put_back = (reader.inner if inside else whole)(reader.seeds[which % len(reader.seeds)])
        content = put_back(changed(content, made))
        now.write_bytes(content)
        began = time.process_time()
        end, text = one(reader, content, work, watch)
        slowest = max(slowest, time.process_time() - began)
        ends[end] += 1
        if end not in ("read", "refused") and len(found.setdefault(end, [])) < 5:
            kept = out.with_name(f"{out.stem}-{end.replace(' ', '_')}-{len(found[end])}")
            kept.write_bytes(content)
            found[end].append(f"{text} ({kept.name})")

    turn = 0
    while time.monotonic() < until:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            drawn(try_one, number * 100_003 + turn)
        turn += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        out.write_text(json.dumps({"ends": ends, "found": found, "slowest": slowest, "peak": peak}), encoding="utf-8")


def forked(reader: Reader, number: int, seconds: float, out: Path) -> str:
    """The slice in a process of its own, with a bound on its memory; how the process ended if not well."""
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if not child:
            status = Path("/proc/self/statm").read_text().split()
            bound = int(status[0]) * os.sysconf("SC_PAGE_SIZE") + GIB * 2**30
            resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
            slice_of(reader, number, time.monotonic() + seconds, Path(folder), out)
            os._exit(0)
        began = last = time.monotonic()
        while True:
            ended, status_of = os.waitpid(child, os.WNOHANG)
            if ended:
                how = os.waitstatus_to_exitcode(status_of)
                break
            now = Path(folder) / "now"
            last = max(last, time.monotonic() - (time.time() - now.stat().st_mtime)) if now.exists() else last
            if time.monotonic() - last > STUCK and time.monotonic() - began > STUCK:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.5)
        if how and (Path(folder) / "now").exists():
            out.with_name(f"{out.stem}-ended").write_bytes((Path(folder) / "now").read_bytes())
        return "" if not how else f"the process ended with {how}"


def main(minutes: float, keep: Path, only: list[str]) -> None:
    """All readers in turn, an equal part of the time each; see the top."""
    part = Part("files", "Hostile files")
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        every = {name: reader for name, reader in readers(Path(folder)).items() if not only or name in only}
        drawn(lambda made, which, inside: None, 0, 1)  # hypothesis reads the sources once, not in every process
        rows, others, done = [], [], 0
        began = time.monotonic()
        for number, (name, reader) in enumerate(every.items()):
            out = keep / f"{name.replace(' ', '_')}.json"
            out.unlink(missing_ok=True)
            bad = forked(reader, number, 60 * minutes / len(every), out)
            told = (
                json.loads(out.read_text(encoding="utf-8"))
                if out.is_file()
                else {"ends": {}, "found": {}, "slowest": 0, "peak": 0}
            )
            ends = told["ends"]
            other = {end: n for end, n in ends.items() if end not in ("read", "refused")} | ({bad: 1} if bad else {})
            others += [f"{name}: {end}" for end in other]
            done += sum(ends.values())
            row = {"reader": name, "files": f"{sum(ends.values()):,}", "read": ends.get("read", 0)}
            row |= {"refused": ends.get("refused", 0), "other": sum(other.values())}
            rows.append(row | {"slowest, s": round(told["slowest"], 2), "peak memory, MiB": round(told["peak"])})
            print(row, told["found"] or "", bad, flush=True)
        spent = (time.monotonic() - began) / 60
    counted = Counter(other.split(": ")[1] for other in others)
    part.add(
        "Changed bytes of a valid file are read or refused in one line",
        f"{minutes:g} minutes, 0 other ends",
        f"{spent:.0f} minutes, {done:,} files, {len(others)} other ends" + (f" ({', '.join(others)})" if others else ""),
        not others and spent > 0.95 * minutes,
    )
    slow = [end for end in counted if end in ("too long", "MemoryError") or end.startswith("the process")]
    asked = f"{SECONDS} s of CPU time and {GIB} GiB for one file"
    part.add("No file takes the machine", asked, f"{max((row['slowest, s'] for row in rows), default=0)} s", not slow)
    part.add(
        "No file has code called, a program started or a file written outside of the folder",
        "0 events of Python's audit",
        f"{counted['did something']} of {len(every)} readers",
        not counted["did something"],
    )
    part.table("Readers", rows)
    part.write()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "soak-files", help="folder of the findings")
    options.add_argument("--only", nargs="*", default=[], metavar="READER")
    asked = options.parse_args()
    main(asked.minutes, asked.keep, asked.only)
