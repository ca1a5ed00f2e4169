"""Commands of tailwise that are killed at a chosen place, as processes of their own, and what two runs differ in.

A process is forked from one that has imported everything, so that a command costs what it computes. The reports' pages are
left empty for the same reason. Nothing of tailwise knows of this: the places are functions of it that are wrapped.
"""

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch

import tailwise.models.dense
import tailwise.train.trainer  # noqa: F401  # so that no forked process imports it
from tailwise import files
from tailwise.cli import main
from tailwise.report import images, pixels
from tailwise.task import Task
from tailwise.train import checkpoint, judge
from tailwise.train.learner import Learner
from tailwise.train.log import Rows
from tailwise.train.parse import parser
from tailwise.train.run import Run

PASSED = "passed: "
"""What stands before the counts that a process gives back at its end."""
Act = Callable[[], None]
JOB = import_module("tailwise.train.fit")
"""The module; `tailwise.train.fit` is its function."""


def kill() -> None:
    """As a machine that fails, or a system without memory left."""
    os.kill(os.getpid(), signal.SIGKILL)


def notify() -> None:
    """As a scheduler that wants the machine back."""
    os.kill(os.getpid(), signal.SIGTERM)


def notify_all() -> None:
    """As one that tells all processes of a job: the workers that read images too. For a process that leads its group."""
    os.killpg(0, signal.SIGTERM)


class Place(NamedTuple):
    """A function that is wrapped; ``half`` does a part of its work before the process is killed in it."""

    owner: Any
    name: str
    half: Callable[..., None] = lambda *_, **__: None


def _half_checkpoint(path: Path, content: bytes, *_: Any) -> None:
    path.with_name(path.name + ".tmp").write_bytes(content[: len(content) // 2])


def _half_row(rows: Rows, **_: Any) -> None:
    with (rows.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')


PLACES = {
    "inside a step, before the loss": Place(Task, "forward"),
    "inside a step, after the optimizer": Place(Task, "on_step"),
    "half of the checkpoint written": Place(checkpoint, "write_whole", _half_checkpoint),
    "a file written, not yet moved": Place(files.os, "fsync"),
    "half a row of the log written": Place(Rows, "log_metrics", _half_row),
    "looking at validation": Place(Learner, "on_validation_epoch_end"),
    "between two epochs": Place(Learner, "on_train_epoch_start"),
    "the recipe not yet written": Place(JOB, "write_whole"),
    "shipping the model": Place(JOB, "finish"),
    "judging": Place(judge, "_best"),
    "between result and page": Place(judge, "PAGE"),
}


class Ended(NamedTuple):
    """How a command ended: its exit code or minus the signal, what it said on standard error, how often it passed a place."""

    code: int
    said: str
    passed: Mapping[str, int]


def command(
    words: Sequence[str],
    scratch: Path,
    place: str = "",
    at: int = 0,
    act: Act = kill,
    before: Act = lambda: None,
    watch: Callable[[int], None] = lambda pid: None,
) -> Ended:
    """Run ``tailwise WORDS`` in a process of its own, which does ``act`` when it comes to a ``place`` for the ``at``-th time.

    ``before`` runs in it first; ``watch`` in this process, with its number, while it runs.
    """
    sys.stdout.flush()
    parser()
    pid = os.fork()
    if not pid:
        code = 70
        try:
            out = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(out, 2)
            sys.stdout, sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"), os.fdopen(out, "w", buffering=1)
            before()
            passed, known = _wrapped(place, at, act), {*sys.modules}
            code = main(list(words))
            os.write(out, f"{PASSED}{json.dumps([passed, sorted({*sys.modules} - known)])}".encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    watch(pid)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said, found, passed = scratch.read_text(errors="replace").partition(PASSED)
    known, loaded = json.loads(passed) if found else ({}, [])
    for module in loaded:  # the next one is forked with it
        with suppress(Exception):
            import_module(module)
    return Ended(status, said, known)


def _wrapped(place: str, at: int, act: Act) -> dict[str, int]:
    """Count what comes to each place, and act at the one that was chosen."""
    passed = dict.fromkeys(PLACES, 0)

    def come(name: str, half: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        passed[name] += 1
        if name == place and passed[name] == at:
            half(*args, **kwargs)
            act()

    def wrap(name: str, spot: Place) -> None:
        inner = getattr(spot.owner, spot.name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            come(name, spot.half, *args, **kwargs)
            return inner(*args, **kwargs)

        setattr(spot.owner, spot.name, wrapped)

    def page(path: Path, *_: Any) -> None:
        come("between result and page", lambda *_: None)
        path.write_text("left empty")

    for name, spot in PLACES.items():
        if spot.name != "PAGE":
            wrap(name, spot)
    images.write = pixels.write = page  # type: ignore[assignment]
    return passed


def small_disk(size: int) -> Act:
    """From when it is called, no file of more bytes can be written, as on a disk that is full."""

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return fill


def after(seconds: float) -> Callable[[int], None]:
    """A kill by the clock, wherever the process is then."""

    def watch(pid: int) -> None:
        time.sleep(seconds)
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            os.kill(pid, signal.SIGKILL)

    return watch


def state(folder: Path) -> dict[str, Any]:
    """All of a run that must not depend on kills: by name, tensors and bytes; those of runs that it needed too."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("recipe.yaml")):
        run, name = Run(path.parent), str(path.parent.relative_to(folder))
        saved = torch.load(run.path / "last.ckpt", weights_only=True)
        kept = {key: saved[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "terms")}
        free = {"seconds": 0, "peak_memory_mb": 0}
        kept |= {"result": run.result | free, "best": run.result["best_epoch"], "doctor": saved["callbacks"].get("Watch")}
        for file in ("metrics.jsonl", "model.safetensors", "model.json", "validation.safetensors", "findings.json"):
            kept[file] = (run.path / file).read_bytes() if (run.path / file).is_file() else None
        found |= {f"{name}/{key}": value for key, value in _leaves(kept).items()}
    return found


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of what is not equal, to the bit."""
    return [
        name for name in sorted({*one, *other}) if name not in one or name not in other or not _equal(one[name], other[name])
    ]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()
    return bool(one == other) and type(one) is type(other)


def _leaves(tree: Any, above: str = "") -> dict[str, Any]:
    parts = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list | tuple) else None
    if parts is None:
        return {above: tree}
    return {
        name: leaf for key, value in parts for name, leaf in _leaves(value, f"{above}/{key}" if above else str(key)).items()
    }


def steps_saved(folder: Path) -> int:
    """Steps in a checkpoint; 0 without one, -1 where it cannot be loaded."""
    if not (folder / "last.ckpt").is_file():
        return 0
    try:
        return int(torch.load(folder / "last.ckpt", weights_only=True)["global_step"])
    except Exception:
        return -1


def anywhere(passed: Mapping[str, int], draw: random.Random) -> tuple[str, int]:
    """A place that a command passes, and which of the times."""
    place = draw.choice([name for name, times in passed.items() if times])
    return place, draw.randint(1, passed[place])


TELLING = ("needs teacher: training", "continues after step", "doctor, epoch")
"""How lines begin that say how a run goes, not why it ended."""


def last_words(said: str) -> list[str]:
    """Of what a command said, all lines but those that are `TELLING`."""
    return [line for line in said.strip().splitlines() if not line.startswith(TELLING)]
