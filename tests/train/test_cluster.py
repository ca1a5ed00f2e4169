"""A bench on a Ray cluster: what becomes of its tasks, of lost machines, and of mistakes. Ray itself is stood in for."""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tailwise.cli import main
from tailwise.report.bench import Row
from tailwise.train import bench as benches
from tailwise.train import cluster, machine
from tailwise.train.bench import LOSSES, Bench
from tailwise.train.cluster import Cluster, Task
from tailwise.train.cluster import run as run_there
from tailwise.train.plan import Cell
from tailwise.types import TailwiseError


class RayError(Exception):
    """As in Ray, what the others are."""


class NodeDiedError(RayError):
    pass


class TaskCancelledError(RayError):
    pass


class Ray:
    """Stands in for the library: a task ends as ``outcome`` says, which is called when somebody asks for the result."""

    exceptions = SimpleNamespace(
        RayError=RayError,
        NodeDiedError=NodeDiedError,
        WorkerCrashedError=NodeDiedError,
        LocalRayletDiedError=NodeDiedError,
        TaskCancelledError=TaskCancelledError,
    )

    def __init__(self, nodes: list[dict[str, Any]] | None = None) -> None:
        self.heard: list[Any] = []
        self.outcome: Callable[[], tuple[int, str]] | None = None
        self.machines = nodes or [{"Alive": True, "Resources": {"CPU": 8.0}}]

    def init(self, address: str, **_: Any) -> None:
        if address != "here":
            raise ConnectionError(f"nobody at {address}\nmore about it")

    def nodes(self) -> list[dict[str, Any]]:
        return self.machines

    def remote(self, **options: Any) -> Callable[..., Any]:
        self.heard.append(options)
        return lambda function: SimpleNamespace(remote=lambda *given: given)

    def wait(self, tasks: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return (tasks, []) if self.outcome else ([], tasks)

    def get(self, task: Any) -> tuple[int, str]:
        assert self.outcome is not None
        return self.outcome()

    def cancel(self, task: Any, force: bool = False) -> None:
        self.heard.append("kill" if force else "interrupt")

    def shutdown(self) -> None:
        self.heard.append("left")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    """The library, as it is imported."""
    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)  # type: ignore[arg-type]
    return ray


def cell(folder: Path) -> Cell:
    return Cell("mine", "mine.yaml", 0, folder / "mine" / "0", ("--epochs=1",))


def raising(error: Exception) -> Callable[[], tuple[int, str]]:
    def outcome() -> tuple[int, str]:
        raise error

    return outcome


@pytest.mark.parametrize(
    ("outcome", "code", "reason", "lost"),
    [
        (lambda: (0, ""), 0, "", False),
        (lambda: (2, "lr is not finite"), 2, "lr is not finite", False),
        (raising(NodeDiedError("gone")), 1, "its machines were lost; the same command continues it", True),
        (raising(TaskCancelledError()), 130, "interrupted; the same command continues it", False),
        (raising(RayError("ray::run()\n  at a place\nno space left\n")), 1, "Ray: no space left", False),
        (raising(RayError()), 1, "Ray: RayError", False),
    ],
)
def test_what_became_of_a_task(ray: Ray, outcome: Any, code: int, reason: str, lost: bool) -> None:
    task = Task(ray, "task")
    assert (task.poll(), task.reason()) == (None, "still running")
    ray.outcome = outcome
    assert (task.poll(), task.reason(), task.lost) == (code, reason, lost)
    ray.outcome = None  # it is not asked again
    assert task.poll() == code


def test_a_task_is_interrupted_and_only_then_killed(ray: Ray) -> None:
    task = Task(ray, "task")
    task.interrupt()
    task.end()
    assert ray.heard == ["interrupt", "kill"]
    ray.outcome = lambda: (130, "")
    task.end()
    assert ray.heard == ["interrupt", "kill"]


@pytest.mark.parametrize(
    ("resources", "jobs", "share"),
    [
        ([{"CPU": 8.0}, {"CPU": 4.0}, {"memory": 1.0}], 2, {"num_cpus": 2}),
        ([{"CPU": 2.0}], 4, {"num_cpus": 1}),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}], 2, {"num_cpus": 1, "num_gpus": 0.5}),
    ],
)
def test_a_run_takes_its_share_of_a_machine(
    ray: Ray, resources: Any, jobs: int, share: dict[str, float], tmp_path: Path
) -> None:
    ray.machines = [{"Alive": True, "Resources": each} for each in resources] + [{"Alive": False, "Resources": {"CPU": 1.0}}]
    there = Cluster("here", jobs)
    assert ray.heard == [{"max_retries": 0, **share}]
    given = there.start(cell(tmp_path)).task
    assert (given[0], given[1], given[3]) == (cell(tmp_path), Path.cwd(), share["num_cpus"])
    assert there.room()
    there.close()
    assert ray.heard[-1] == "left"


def test_no_ray_and_no_cluster_are_one_line_each(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TailwiseError, match=r"^bench: no Ray cluster at 'there:1' \(nobody at there:1\); start one with .*$"):
        Cluster("there:1", 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TailwiseError, match=r"^bench: a cluster needs Ray; run pip install 'tailwise\[cluster\]'$"):
        Cluster("here", 1)


class Ended:
    """A run that has ended."""

    def __init__(self, code: int, lost: bool) -> None:
        self.code, self.lost = code, lost

    def poll(self) -> int:
        return self.code

    def reason(self) -> str:
        return "its machines were lost"


class Doomed:
    """A place whose machines are all lost, until there have been so many."""

    def __init__(self, losses: int) -> None:
        self.losses, self.commands = losses, list[list[str]]()

    def room(self) -> bool:
        return True

    def start(self, cell: Cell) -> Any:
        self.commands.append(cell.command())
        lost = len(self.commands) <= self.losses
        cell.folder.mkdir(parents=True, exist_ok=True)
        (cell.folder / "recipe.yaml").write_text("")
        if not lost:
            (cell.folder / "result.json").write_text("{}")
        return Ended(int(lost), lost)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("losses", [1, LOSSES, LOSSES + 1])
def test_a_run_whose_machine_is_lost_goes_on_elsewhere(tmp_path: Path, losses: int, capsys: pytest.CaptureFixture[str]) -> None:
    place, mine = Doomed(losses), cell(tmp_path)
    work = Bench([mine], place)
    while work.running or work.waiting:
        work.step()
    begin, go_on = ["--recipe", "mine.yaml", "--out", str(mine.folder), "--epochs=1"], ["--resume", str(mine.folder)]
    assert place.commands == [begin, *[go_on] * min(losses, LOSSES)]
    assert (work.failed, mine.done) == (({}, True) if losses <= LOSSES else ({mine: "its machines were lost"}, False))
    assert capsys.readouterr().err.count("mine seed 0: its machine was lost; it goes on elsewhere\n") == min(losses, LOSSES)


class Fit:
    """Stands in for `subprocess.Popen` on a machine of the cluster."""

    made: list["Fit"] = []
    interrupts = False

    def __init__(self, words: list[str], *, stdout: Any, env: dict[str, str], **_: Any) -> None:
        self.words, self.environment, self.returncode, self.heard = words, env, 0, list[int]()
        self.made.append(self)
        stdout.write(b"what it says\ntailwise: it is broken\n")

    def poll(self) -> int:
        if self.interrupts and not self.heard:
            raise KeyboardInterrupt
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.heard.append(number)
        self.returncode = 130

    def wait(self, patience: float) -> None:
        pass


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> type[Fit]:
    """The runs that were started."""
    monkeypatch.setattr(Fit, "made", [])
    monkeypatch.setattr(Fit, "interrupts", False)
    monkeypatch.setattr(machine.subprocess, "Popen", Fit)
    monkeypatch.chdir(os.getcwd())
    return Fit


def test_a_machine_runs_the_command_where_the_bench_was_started(tmp_path: Path, fits: type[Fit]) -> None:
    (tmp_path / "mine").mkdir()
    assert run_there(cell(Path()), tmp_path, ["a", "b"], 3) == (0, "")
    (fit,) = fits.made
    assert fit.words[1:4] == ["-m", "tailwise.cli", "fit"]
    assert fit.words[4:] == ["--recipe", "mine.yaml", "--out", "mine/0", "--epochs=1"]
    assert (fit.environment["PYTHONPATH"], fit.environment["OMP_NUM_THREADS"]) == (f"a{os.pathsep}b", "3")
    assert (tmp_path / "mine" / "0.log").read_text().startswith("what it says")


def test_a_cancelled_task_interrupts_its_run(tmp_path: Path, fits: type[Fit], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(fits, "interrupts", True)
    assert run_there(cell(tmp_path), tmp_path, [], 1) == (130, "it is broken")
    assert fits.made[0].heard == [signal.SIGINT]


@pytest.mark.parametrize("here", ["", "nowhere"])
def test_a_machine_that_does_not_see_the_folder_says_so(tmp_path: Path, here: str, fits: type[Fit]) -> None:
    code, reason = run_there(cell(Path()), tmp_path / here, [], 1)
    assert (code, fits.made) == (1, [])
    assert reason.endswith(
        f"{tmp_path / here / 'mine'} is not there; "
        "start the bench in a folder, and with an --out, that all machines of the cluster share"
    )


def test_the_command_hands_the_address_on(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, Any] = {}
    monkeypatch.setattr(benches, "bench", lambda patterns, **options: heard.update(options) or [Row("mine", {}, [])])
    assert main(["bench", "digits_lt/ce", "--cluster", "head:6379"]) == 0
    assert heard["cluster"] == "head:6379"
    assert main(["bench", "digits_lt/ce"]) == 0
    assert heard["cluster"] is None


def test_what_ray_calls_on_its_machines_can_be_imported_there() -> None:
    assert importlib.import_module(run_there.__module__).run is cluster.run
