"""A run is a folder; this file knows what lies where in it."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailwise.files import go_on, write_whole
from tailwise.models import Saved
from tailwise.report.figures import figures
from tailwise.train.written import Manifest, dump_json, load, load_json, misfit
from tailwise.types import TailwiseError

RECIPE, MANIFEST, RESULT, METRICS, CHECKPOINT, ISSUES, FINDINGS = (
    "recipe.yaml",
    "manifest.json",
    "result.json",
    "metrics.jsonl",
    "last.ckpt",
    "data_issues.csv",
    "findings.json",
)
LOCK = "run.lock"
"""A run's folder holds it while a process writes there."""


class Run:
    """A run folder, finished or not.

    ``recipe.yaml`` is the resolved recipe, ``manifest.json`` says on what data, hardware and versions it ran,
    ``metrics.jsonl`` and ``metrics.csv`` are its log, ``last.ckpt`` continues it, ``model.safetensors`` with
    ``model.json`` is what is shipped, ``result.json`` is the judgement. Runs that it needed lie in ``needs/``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / RECIPE).is_file():
            raise TailwiseError(f"{self.path}: not a run of tailwise (no {RECIPE} there); give the folder that fit wrote")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def recipe_text(self) -> str:
        """The resolved recipe as YAML."""
        return (self.path / RECIPE).read_text(encoding="utf-8", errors="replace")

    @property
    def finished(self) -> bool:
        """Whether the run has been judged."""
        return (self.path / RESULT).is_file()

    @property
    def manifest(self) -> dict[str, Any]:
        """Data, versions, hardware, seed."""
        return Manifest(self._json(MANIFEST), lambda wrong: self.damaged(MANIFEST, f"damaged ({wrong})"))

    @property
    def result(self) -> dict[str, Any]:
        """The judgement of the last epoch's model on the test split."""
        result = self._json(RESULT)
        if not isinstance(result, dict) or not isinstance(result.get("task", ""), str):
            raise self.damaged(RESULT, "not a result (no judgement)")
        if lacking := {"recipe", "seed", "worst", figures([result]).headline} - result.keys():
            raise self.damaged(RESULT, f"not a result (no {min(lacking)} in it)")
        return result

    def model(self) -> Saved:
        """The trained network, in eval mode."""
        return Saved(self.path).eval()

    def metrics(self) -> list[dict[str, Any]]:
        """The logged rows."""
        return rows(self.path / METRICS)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """A JSON file of the run, replaced whole."""
        write_json(self.path / name, content)

    def damaged(self, name: str, how: str) -> TailwiseError:
        """The error for the result or the manifest of the run, with what mends it."""
        again = f"`tailwise evaluate {self.path}` writes it anew"
        return TailwiseError(
            f"{self.path / name}: {how}; {again if name == RESULT else f'delete it, then `tailwise fit --resume {self.path}`'}"
        )

    def _json(self, name: str) -> Any:
        path = self.path / name
        if not path.is_file():
            raise TailwiseError(f"{self.path}: no {name} yet; finish the run with `tailwise fit --resume {self.path}`")
        try:
            return load_json(path)
        except (ValueError, RecursionError, OSError) as error:  # no JSON, no UTF-8, or a thousand lists in one another
            raise self.damaged(name, f"not readable ({error})") from error


def by_recipe(runs: Iterable[Run]) -> dict[str, list[dict[str, Any]]]:
    """Results of runs that differ in nothing but their seed, together, under the recipe's name.

    Recipes of one name are told apart by a folder. Raises `TailwiseError` when one seed occurs twice in a group:
    a run counted twice would make the spread too small.
    """
    alike: dict[str, list[Run]] = {}
    for run in runs:
        recipe = load(run.path / RECIPE, str(run.path / RECIPE))
        method = {key: value for key, value in recipe.items() if key not in ("about", "seed", "engine")}
        method["needs"] = {name: _recipe_of(wanted) for name, wanted in (recipe.get("needs") or {}).items()}
        alike.setdefault(json.dumps(method, sort_keys=True, default=str), []).append(run)
    groups: dict[str, list[dict[str, Any]]] = {}
    named = Counter(str(group[0].result["recipe"]) for group in alike.values())
    for group in alike.values():
        seeds: dict[int, Run] = {}
        for run in group:
            if before := seeds.get(run.result["seed"]):
                raise TailwiseError(f"report: {before.path} and {run.path} are the same recipe and seed; name one of them")
            seeds[run.result["seed"]] = run
        name = str(group[0].result["recipe"])
        groups[name if named[name] == 1 else f"{name} ({group[0].path})"] = [run.result for run in group]
    return groups


def _recipe_of(needed: str) -> str:
    """The recipe that a need stands for: of a run's folder, the one that made it."""
    return str(Run(needed).manifest["recipe"]) if (Path(needed) / MANIFEST).is_file() else needed


def new_folder(path: Path, overwrite: bool) -> None:
    """Make an empty folder for a run; an older run there goes only with ``overwrite``, anything else never.

    What the older run needed (its teachers) is kept: it is finished work and is checked before it is used again.
    """
    check_folder(path, overwrite)
    try:
        path.mkdir(parents=True, exist_ok=True)
        for entry in sorted(path.iterdir(), key=lambda entry: entry.name == RECIPE):  # as long as it is there, it is a run
            if entry.name not in ("needs", LOCK):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    except OSError as error:
        raise TailwiseError(f"{path}: cannot be made ({error.strerror}); choose another --out") from error


def check_folder(path: Path, overwrite: bool) -> None:
    """Refuse a folder that `new_folder` would refuse; what a refusal or a kill at the start leaves there occupies nothing."""
    leftovers = (ISSUES, LOCK, MANIFEST, f"{MANIFEST}.tmp", f"{RECIPE}.tmp")
    if not path.exists() or (path.is_dir() and all(entry.name in leftovers for entry in path.iterdir())):
        return
    if not overwrite:
        raise TailwiseError(f"{path}: exists already; choose another --out, continue with --resume, or pass --overwrite")
    if not path.is_dir() or not (path / RECIPE).is_file():
        raise TailwiseError(f"{path}: is not a run of tailwise, so it is not overwritten; choose another --out")


@contextmanager
def locked(path: Path, patience: float = 1.0) -> Iterator[None]:
    """Keep a run's folder, made where it is missing, to this process, as two of them would spoil each other's files.

    The system gives the lock back with the process, however that ends; a file that was left behind locks nothing.
    ``patience`` is in seconds. Raises `TailwiseError` when another process has the folder, or nobody can write there.
    """
    from filelock import FileLock, Timeout

    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK, timeout=patience)
        lock.acquire()
    except Timeout as error:
        raise TailwiseError(f"{path}: another process is writing this run; wait for it or choose another --out") from error
    except OSError as error:
        raise TailwiseError(f"{path}: cannot be made or written ({error.strerror}); choose another --out") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it itself
            (path / LOCK).unlink()  # before the release, for after it the file may be another's
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether another process has the run's folder."""
    from filelock import FileLock, Timeout

    if not (path / LOCK).exists():
        return False
    try:
        with FileLock(path / LOCK, timeout=0):
            return False
    except Timeout:
        return True


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; those that a resumed run logged again count once, and a line cut off by a crash not at all.

    Raises `TailwiseError` for one that says what a log does not.
    """
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for number, line in enumerate(text.split("\n"), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            if wrong := misfit(row):
                raise TailwiseError(f"{path}: damaged (line {number}: {wrong}); delete this line of it")
            found[row["step"], *row] = row
    return list(found.values())


def write_json(path: Path, content: dict[str, Any], advice: str | None = None) -> None:
    """Write JSON as `tailwise.files.write_whole` does; without ``advice`` it is a file of the run whose folder it lies in."""
    write_whole(path, dump_json(content), advice or go_on(path.parent))


def surroundings() -> dict[str, Any]:
    """Versions, hardware and date: what a figure depends on besides the recipe."""
    import platform

    import torch

    packages = ("tailwise", "torch", "torchvision", "lightning", "timm", "numpy")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "hardware": {"cpu": _cpu(), "cores": os.cpu_count(), "gpus": gpus, "threads": torch.get_num_threads()},
    }


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:  # run from its sources
        return "not installed"


def _cpu() -> str:
    import platform

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
