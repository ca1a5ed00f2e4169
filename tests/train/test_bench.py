"""Many runs for one table: what is trained, resumed, skipped or shared, what fails alone, and how a bench is stopped."""

import contextlib
import fcntl
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tailwise.cli import main
from tailwise.train import bench as benches
from tailwise.train import machine
from tailwise.train.bench import Bench, bench
from tailwise.train.machine import Machine, Process
from tailwise.train.plan import plan
from tailwise.train.run import LOCK, Run, check_folder, is_locked, locked
from tailwise.types import TailwiseError

ENGINE = ("--engine.threads=1", "--engine.accelerator=cpu", "--engine.precision=32-true", "--engine.progress=none")
SMALL = """
data: {imbalance_factor: 5, largest: 40}
model: {backbone: resnet8, classifier: linear}
optim: {lr: 0.05}
epochs: 1
batch_size: 64
"""
STAGE2 = SMALL.replace("classifier: linear", 'classifier: linear, start_from: "${needs.first}"') + "needs: {first: NEEDED}\n"


def write(path: Path, text: str = SMALL) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


class Here:
    """Stands in for `subprocess.Popen`: the command runs in this process, at once."""

    ran: list[list[str]] = []

    def __init__(self, words: Sequence[str], *, stdout: io.BufferedWriter, env: dict[str, str], **_: Any) -> None:
        assert words[:3] == [sys.executable, "-m", "tailwise.cli"]
        self.ran.append(list(words[4:]))
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.returncode = main(words[3:])
        stdout.write(said.getvalue().encode())

    def poll(self) -> int:
        return self.returncode


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of each run that a bench has started, in this process."""
    monkeypatch.setattr(Here, "ran", [])
    monkeypatch.setattr(machine.subprocess, "Popen", Here)
    monkeypatch.setattr(benches, "PAUSE", 0.0)
    return Here.ran


def test_what_is_missing_is_trained_what_was_cut_off_goes_on_what_is_done_stays(
    tmp_path: Path, ran: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    first, out = write(tmp_path / "first.yaml"), tmp_path / "out"
    stage2 = STAGE2.replace("NEEDED", first)
    patterns = [write(tmp_path / "one.yaml", stage2), write(tmp_path / "two.yaml", stage2.replace("epochs: 1", "epochs: 0"))]
    rows = bench(patterns, seeds=[0, 1], out=out, overrides=ENGINE)
    assert [(row.name, len(row.results), row.failures) for row in rows] == [("one", 2, []), ("two", 2, [])]
    assert [Path(words[words.index("--out") + 1]).relative_to(out).as_posix() for words in ran] == [
        *("first/0", "one/0", "two/0", "first/1", "one/1", "two/1")  # what both need is trained once for each seed
    ]
    table = (out / "table.md").read_text(encoding="utf-8")
    assert "| one | none | 2 |" in table
    assert "±" in table
    assert "| first |" not in table  # it was not asked for
    assert "<td>2</td>" in (out / "table.html").read_text(encoding="utf-8")
    assert (out / "one" / "0.log").is_file()
    assert not list(out.rglob(LOCK))
    ran.clear()

    capsys.readouterr()
    again = bench(patterns, seeds=[0, 1], out=out, overrides=ENGINE)
    assert (again, ran) == (rows, [])
    assert capsys.readouterr().err == ""

    (out / "one" / "1" / "result.json").unlink()
    shutil.rmtree(out / "two" / "0")
    third = bench(patterns, seeds=[0, 1], out=out, overrides=ENGINE)
    assert [words[:2] for words in ran] == [["--recipe", patterns[1]], ["--resume", str(out / "one" / "1")]]
    assert [row.results for row in third] == [
        [{**run, "seconds": new["seconds"], "peak_memory_mb": new["peak_memory_mb"]} for run, new in zip(*both, strict=True)]
        for both in zip((row.results for row in rows), (row.results for row in third), strict=True)
    ]


def test_a_run_that_fails_stands_in_the_table_and_the_others_go_on(
    tmp_path: Path, ran: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    diverging = write(tmp_path / "diverging.yaml", SMALL.replace("lr: 0.05", "lr: 1.0e+30").replace("epochs: 1", "epochs: 2"))
    patterns = [
        write(tmp_path / "flour.yaml", SMALL + "flour: 500\n"),
        write(tmp_path / "linear.yaml", SMALL + "objective: torch.nn.Linear\n"),
        write(tmp_path / "baseless.yaml", "base: nowhere.yaml\n"),
        write(tmp_path / "teacherless.yaml", STAGE2.replace("NEEDED", "runs/nowhere")),
        diverging,
        write(tmp_path / "dependent.yaml", STAGE2.replace("NEEDED", diverging)),
        write(tmp_path / "good.yaml"),
        write(tmp_path / "twin" / "good.yaml"),
        write(tmp_path / "blocked.yaml"),
        write(tmp_path / "foreign.yaml"),
        write(tmp_path / "garbled.yaml"),
    ]
    write(out / "blocked", "a file, where a folder should be")
    write(out / "foreign" / "0" / "recipe.yaml", SMALL.replace("imbalance_factor: 5", "imbalance_factor: 7"))
    write(out / "garbled" / "0" / "recipe.yaml")
    write(out / "garbled" / "0" / "result.json", "{")
    rows = {row.name: row for row in bench(patterns, seeds=[0], out=out, overrides=ENGINE)}
    said = {
        "flour": "recipe: no key 'flour'",
        "linear": "torch.nn.Linear is no Objective",
        "baseless": "no recipe 'nowhere.yaml'",
        "teacherless": "needs first: no run and no recipe 'runs/nowhere'",
        "diverging": "is not finite",
        "dependent": "needs diverging, which failed",
        patterns[7]: f"{patterns[6]} and {patterns[7]} would write to one folder",
        "blocked": f"{out / 'blocked' / '0'}: cannot be",
        "foreign": f"{out / 'foreign' / '0'} holds another run: data.imbalance_factor is 7.0 there, 5.0 is asked",
        "garbled": "result.json: not readable",
    }
    assert set(rows) == {*said, "good"}
    assert (len(rows["good"].results), rows["good"].failures) == (1, [])
    table, err = (out / "table.md").read_text(encoding="utf-8"), capsys.readouterr().err.splitlines()
    for name, line in said.items():
        assert not rows[name].results
        (failure,) = rows[name].failures
        assert line in failure
        assert len(failure.splitlines()) == 1
        assert f"| {name} | none | 0 | failed |" in table
        assert f"- {name}, {failure}." in table
        assert [shown for shown in err if shown == f"{name} {failure}"]
    assert len(ran) == 2


def test_a_run_whose_data_have_changed_is_not_continued(tmp_path: Path, ran: list[list[str]]) -> None:
    recipe, run = write(tmp_path / "mine.yaml"), tmp_path / "out" / "mine" / "0"
    bench([recipe], seeds=[0], out=tmp_path / "out", overrides=ENGINE)
    (run / "result.json").unlink()
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    manifest["data"]["sha256"] = "0" * 64
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (row,) = bench([recipe], seeds=[0], out=tmp_path / "out", overrides=ENGINE)
    (failure,) = row.failures
    assert failure.startswith(f'seed 0: {run}: the data have changed since this run began (sha256 "000000000000", now "')
    assert failure.endswith("digits); start a new run")


def test_a_result_that_is_none_fails_alone(tmp_path: Path) -> None:
    recipes = [write(tmp_path / f"{name}.yaml") for name in ("broken", "good")]
    bench(recipes, seeds=[0], out=tmp_path / "out", overrides=ENGINE)
    (tmp_path / "out" / "broken" / "0" / "result.json").write_text("{}", encoding="utf-8")
    broken, good = bench(recipes, seeds=[0], out=tmp_path / "out", overrides=ENGINE)
    assert "result.json: not a result (no balanced in it); `tailwise evaluate" in broken.failures[0]
    assert len(good.results) == 1


def test_a_bench_without_time_left_writes_what_there_is(tmp_path: Path, ran: list[list[str]]) -> None:
    (row,) = bench([write(tmp_path / "mine.yaml")], seeds=[0], out=tmp_path / "out", minutes=0)
    assert (row.results, row.failures, ran) == ([], [], [])
    assert "| mine | none | 0 | n/a |" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_a_bench_that_cannot_be_written_starts_nothing(tmp_path: Path, ran: list[list[str]]) -> None:
    write(tmp_path / "file")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(TailwiseError, match=f"^{out}: cannot be made .*; choose another --out$"):
            bench([write(tmp_path / "mine.yaml")], seeds=[0], out=out)
    assert ran == []


class Asleep:
    """Stands in for `subprocess.Popen`: never ends by itself, and ends of an interrupt only where it is told to."""

    def __init__(self, words: Sequence[str], *, env: dict[str, str], **options: Any) -> None:
        self.environment, self.options, self.heard, self.stubborn = env, options, [], False
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.heard.append(number)
        self.returncode = None if self.stubborn else 130

    def kill(self) -> None:
        self.returncode = -signal.SIGKILL

    def wait(self, patience: float | None = None) -> None:
        if self.returncode is None:
            raise subprocess.TimeoutExpired("fit", patience or 0)


@pytest.fixture
def asleep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """A bench of three recipes whose runs have been started."""
    monkeypatch.setattr(machine.subprocess, "Popen", Asleep)

    def start(jobs: int) -> Bench:
        cells, _ = plan([write(tmp_path / f"{name}.yaml") for name in "abc"], [0], tmp_path / "out", ())
        work = Bench(cells, Machine(jobs))
        work.step()
        return work

    return start


def processes(work: Bench) -> list[Any]:
    """Those that stand in for the runs in progress."""
    return [job.process for job in work.running if isinstance(job, Process)]


def test_as_many_runs_at_a_time_as_there_are_jobs_share_the_cores(asleep: Callable[..., Bench]) -> None:
    work = asleep(2)
    assert [cell.name for cell in work.running.values()] == ["a", "b"]
    share = str(max((os.cpu_count() or 1) // 2, 1))
    assert [process.environment["OMP_NUM_THREADS"] for process in processes(work)] == [share, share]
    assert all(process.options["start_new_session"] for process in processes(work))
    processes(work)[0].returncode = -signal.SIGKILL
    assert work.step()
    assert [cell.name for cell in work.running.values()] == ["b", "c"]
    assert list(work.failed.values()) == ["killed by SIGKILL; the same command continues it"]


def test_a_run_that_another_bench_took_first_waits_for_it(
    asleep: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = asleep(1)
    (cell,) = work.running.values()
    processes(work)[0].returncode = 2  # it found the folder locked
    monkeypatch.setattr(benches, "is_locked", lambda folder: folder == cell.folder)
    work.step()
    assert cell in work.waiting
    assert not work.failed


@pytest.mark.parametrize(("visible", "expected"), [(None, ["0", "1"]), ("", ["0", "1"]), ("4,7", ["4", "7"])])
def test_each_gpu_has_one_run(
    asleep: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    work = asleep(1)
    assert [process.environment["CUDA_VISIBLE_DEVICES"] for process in processes(work)] == expected
    assert not work.step()
    assert len(work.waiting) == 1
    cores = [process.environment["OMP_NUM_THREADS"] for process in processes(work)]
    assert cores == [str(max((os.cpu_count() or 1) // 2, 1))] * 2


def test_what_runs_is_interrupted_and_only_then_killed(asleep: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PATIENCE", 0.01)
    work = asleep(2)
    gentle, stubborn = processes(work)
    stubborn.stubborn = True
    work.stop()
    assert [gentle.heard, stubborn.heard] == [[signal.SIGINT], [signal.SIGINT]]
    assert [gentle.returncode, stubborn.returncode] == [130, -signal.SIGKILL]


def test_nothing_runs_on_when_the_bench_itself_fails(
    tmp_path: Path, asleep: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    start = Machine.start
    monkeypatch.setattr(Machine, "start", lambda self, cell: started.append(start(self, cell)) or started[-1])
    monkeypatch.setattr(time, "sleep", lambda _: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        bench([write(tmp_path / "a.yaml")], seeds=[0], out=tmp_path / "out")
    assert started[0].process.heard == [signal.SIGINT]


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder's lock, as another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_run_that_another_process_writes_is_waited_for(tmp_path: Path, ran: list[list[str]], capsys: Any) -> None:
    cells, _ = plan([write(tmp_path / "mine.yaml")], [0], tmp_path / "out", ENGINE)
    work = Bench(cells, Machine(1))
    with held(cells[0].folder):
        assert not any(work.step() for _ in range(3))
        assert capsys.readouterr().err == "mine seed 0: another process is writing this run; waiting for it\n"
    assert ran == []
    work.step()
    assert cells[0].done
    work = Bench(cells, Machine(1))
    work.waiting = list(cells)  # as if it had not been done then
    assert work.step()
    assert (work.waiting, work.failed, len(ran)) == ([], {}, 1)


def test_two_processes_never_write_one_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held(run):
        assert is_locked(run)
        with pytest.raises(TailwiseError, match=f"^{run}: another process is writing this run; wait for it or choose"):
            locked(run, patience=0).__enter__()
    assert not is_locked(run)
    assert (run / LOCK).exists()  # left behind, as by a kill
    check_folder(run, overwrite=False)  # and occupies nothing
    with locked(run):
        assert is_locked(run)
    assert list(run.iterdir()) == []
    assert not is_locked(tmp_path / "nowhere")
    write(tmp_path / "file")
    with pytest.raises(TailwiseError, match="cannot be made or written"):
        locked(tmp_path / "file" / "run").__enter__()


@pytest.mark.parametrize("words", [["--resume", "RUN"], ["--recipe", "RECIPE", "--out", "RUN", "--overwrite", *ENGINE]])
def test_a_fit_leaves_a_folder_alone_that_another_process_writes(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run, recipe = tmp_path / "run", write(tmp_path / "mine.yaml")
    write(run / "recipe.yaml")
    given = {"RUN": str(run), "RECIPE": recipe}
    with held(run):
        assert main(["fit", *(given.get(word, word) for word in words)]) == 2
    assert capsys.readouterr().err.endswith(
        f"{run}: another process is writing this run; wait for it or choose another --out\n"
    )
    assert (run / "recipe.yaml").read_text() == SMALL


SLOW = """
import os, time
from pathlib import Path
from tailwise.losses import CrossEntropy

class Waiting(CrossEntropy):
    def on_epoch(self, epoch, epochs):
        self.waits = epoch == 1

    def forward(self, out, batch):  # after the first epoch was saved
        while self.waits and not Path(os.environ["GO"]).exists():
            time.sleep(0.02)
        return super().forward(out, batch)
"""


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


def command(words: list[str], said: str, background: bool) -> None:
    """What a shell starts: with interrupts switched off when it is in the background."""
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = open(1, "w", 1, closefd=False), open(2, "w", 1, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.SIG_IGN if background else signal.default_int_handler)
    os._exit(main(words))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("notice", "background"), [(signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGKILL, False)], ids=lambda v: str(v)
)
def test_a_bench_that_is_stopped_loses_one_epoch_at_most_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notice: signal.Signals, background: bool
) -> None:
    go, said, run = tmp_path / "go", tmp_path / "said", tmp_path / "out" / "slow" / "0"
    write(tmp_path / "waiting.py", SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GO", str(go))
    recipe = write(tmp_path / "slow.yaml", SMALL.replace("epochs: 1", "epochs: 3") + "objective: waiting.Waiting\n")
    words = ["bench", recipe, "--seeds", "1", "--out", str(tmp_path / "out"), *ENGINE]
    fork = multiprocessing.get_context("fork")

    def start() -> Any:
        process = fork.Process(target=command, args=(words, str(said), background))
        process.start()
        return process

    process = start()
    try:
        until((run / "last.ckpt").exists, "the first epoch")
        os.kill(process.pid, notice)
        process.join(100)
        orphan = notice == signal.SIGKILL
        assert process.exitcode == (-notice if orphan else 130)
        assert is_locked(run) == orphan  # of a kill the run knows nothing
        assert torch.load(run / "last.ckpt", weights_only=True)["epoch"] == 1
        assert not Run(run).finished
        if orphan:
            process = start()
            until(lambda: "waiting for it" in said.read_text(), "a word about the run that lives on")
    finally:
        go.touch()  # nothing may outlive the test
    if orphan:
        process.join(100)
        assert process.exitcode == 0
    else:
        assert "interrupted; give the same command again: it goes on where it stopped" in said.read_text()
        assert (tmp_path / "out" / "table.md").is_file()
        monkeypatch.setattr(machine.subprocess, "Popen", Here)
        assert main(words) == 0
    assert Run(run).result["epochs"] == 3
    logged = [row["step"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "loss_epoch" in row]
    assert len(logged) == len(set(logged)) == 3  # no epoch was trained twice
    assert "| slow | none | 1 |" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
