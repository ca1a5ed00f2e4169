"""Runs that are killed in the middle of something, told to end, or edited: a small sample of ``python -m soak.resume``."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from train.jobs import SMALL

from soak.killed import Ended, command, differences, notify, notify_all, state, steps_saved
from tailwise.cli import main
from tailwise.train import resume
from tailwise.train.checkpoint import rewind
from tailwise.train.run import METRICS, Run, check_folder, new_folder
from tailwise.train.same import settings
from tailwise.train.terms import Terms
from tailwise.types import TailwiseError

OPTIONS = {**SMALL, "epochs": 2, "data.imbalance_factor": 10, "engine.loggers": "[]", "objective.queue_size": 64}
STEPS = 12
"""Of them, six in an epoch."""


class Job:
    """One command, run in folders of its own; ``state`` is what comes out where nobody interferes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.words = ["fit", "digits", "--objective=drawing.Drawing", *(f"--{key}={value}" for key, value in OPTIONS.items())]
        assert self.run("whole").code == 0
        self.state = state(root / "whole")

    def run(self, folder: str, *more: str, **options: Any) -> Ended:
        out = self.root / folder
        words = ["--resume", str(out)] if (out / "recipe.yaml").is_file() else [*self.words[1:], *more, "--out", str(out)]
        return command(["fit", *words], self.root / "said", **options)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("job"))


@pytest.mark.parametrize(
    "kills",
    [
        [("half of the checkpoint written", 5), ("inside a step, after the optimizer", 4)],
        pytest.param([("the recipe not yet written", 1), ("half a row of the log written", 2)], marks=pytest.mark.slow),
        pytest.param([("between two epochs", 2), ("inside a step, before the loss", 1)], marks=pytest.mark.slow),
        pytest.param([("a file written, not yet moved", 9), ("shipping the model", 1)], marks=pytest.mark.slow),
        pytest.param([("looking at validation", 2), ("judging", 1), ("between result and page", 1)], marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_killed_ends_bit_equal(job: Job, kills: list[tuple[str, int]]) -> None:
    folder, saved = f"killed at {kills[0][0]}", 0
    for place, at in kills:
        ended = job.run(folder, "--engine.save_every=0", place=place, at=at)
        assert ended.code == -signal.SIGKILL, (place, ended.said)
        assert steps_saved(job.root / folder) >= saved
        saved = steps_saved(job.root / folder)
    again = job.run(folder)
    assert again.code == 0, again.said
    assert differences(job.state, state(job.root / folder)) == []
    assert (job.root / folder / "report.html").is_file()


@pytest.mark.parametrize("step", [4, pytest.param(6, marks=pytest.mark.slow), pytest.param(STEPS, marks=pytest.mark.slow)])
def test_a_notice_saves_after_the_very_step_and_ends_with_a_code_of_its_own(job: Job, step: int) -> None:
    folder = f"told in {step}"
    ended = job.run(folder, place="inside a step, after the optimizer", at=step, act=notify)
    assert ended.code == 75, ended.said
    line = f"tailwise: ended by SIGTERM, saved at step {step}; continue with `tailwise fit --resume {job.root / folder}`\n"
    assert ended.said == line
    assert steps_saved(job.root / folder) == step
    again = job.run(folder)
    assert again.code == 0, again.said
    assert differences(job.state, state(job.root / folder)) == []


def test_a_notice_to_a_whole_job_reaches_its_workers_too_and_is_still_exact(job: Job) -> None:
    told = {"place": "inside a step, after the optimizer", "at": 3, "act": notify_all}
    ended = job.run("all told", "--engine.workers=1", before=os.setpgrp, **told)
    assert (ended.code, steps_saved(job.root / "all told")) == (75, 3), ended.said


@pytest.mark.slow
@pytest.mark.parametrize("place", ["looking at validation", "judging", "the recipe not yet written"])
def test_a_notice_where_there_is_nothing_to_save_ends_at_once(job: Job, place: str) -> None:
    folder = f"told at {place}"
    ended = job.run(folder, place=place, at=1, act=notify)
    assert ended.code == 75, ended.said
    assert "ended by SIGTERM" in ended.said
    assert job.run(folder).code == 0
    assert differences(job.state, state(job.root / folder)) == []


TWO = """
import os, signal, sys
from tailwise.cli import main
from tailwise.task import Task
old = Task.on_step
def on_step(task):
    old(task)
    task.taken = getattr(task, "taken", 0) + 1
    if task.taken == 3 and os.environ.get("LOCAL_RANK") == "1":
        os.kill(os.getppid(), signal.SIGTERM)
Task.on_step = on_step
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_two_processes_save_at_one_step(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    words = ["digits", "--objective=LogitAdjusted", "--engine.devices=2", "--batch_size=16", "--optim.lr=0.05", "--epochs=2"]
    words += [f"--{key}={value}" for key, value in SMALL.items() if key not in ("batch_size", "optim.lr")]
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "two.py"), "fit", *words, f"--out={tmp_path / 'run'}"], capture_output=True, text=True
    )
    assert ended.returncode == 75, ended.stderr
    assert "continue with `tailwise fit --resume" in ended.stderr.strip().splitlines()[-1]
    assert steps_saved(tmp_path / "run") in range(3, 7)
    assert main(["fit", "--resume", str(tmp_path / "run")]) == 0
    assert main(["fit", *words, f"--out={tmp_path / 'whole'}"]) == 0
    assert differences(state(tmp_path / "whole"), state(tmp_path / "run")) == []


def unfinished(done: Run, path: Path) -> Path:
    copy = shutil.copytree(done.path, path)
    (copy / "result.json").unlink()
    return copy


def test_an_edited_recipe_is_refused_and_the_keys_are_shown(tmp_path: Path, done: Run) -> None:
    copy = unfinished(done, tmp_path / "copy")
    text = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(text.replace("lr: 0.05", "lr: 0.5").replace("epochs: 2", "epochs: 3"))
    with pytest.raises(
        TailwiseError, match=r"edited since this run began \(optim.lr 0.05, now 0.5; epochs 2, now 3\)"
    ) as caught:
        resume(copy)
    assert "\n" not in str(caught.value)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["settings"] = settings((copy / "recipe.yaml").read_text())  # the checkpoint knows it too
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TailwiseError, match=r"last.ckpt: not a checkpoint of this run \(it has another recipe\)"):
        resume(copy)
    (copy / "manifest.json").write_text(json.dumps({**manifest, "settings": settings(text)}))
    (copy / "recipe.yaml").write_text(text.replace("workers: 0", "workers: 1").replace("about: {}", "about: {row: mine}"))
    assert resume(copy).finished


def test_other_data_are_refused_and_the_difference_is_shown(tmp_path: Path, done: Run) -> None:
    copy = unfinished(done, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["data"]["train_counts"][3] += 2
    manifest["data"]["samples"]["train"] += 2
    (copy / "manifest.json").write_text(json.dumps(manifest))
    now = done.manifest["data"]["train_counts"][3]
    with pytest.raises(TailwiseError, match="the data have changed since this run began") as caught:
        resume(copy)
    assert f"training samples of 3 {now + 2}, now {now}" in str(caught.value)
    assert f"train samples {manifest['data']['samples']['train']}, now" in str(caught.value)


def test_a_run_that_was_cut_off_between_result_and_page_gets_its_page(tmp_path: Path, done: Run) -> None:
    copy = shutil.copytree(done.path, tmp_path / "copy")
    (copy / "report.html").unlink()
    assert resume(copy).result == done.result
    assert (copy / "report.html").is_file()


def test_the_log_is_taken_back_to_the_checkpoint(tmp_path: Path) -> None:
    log = tmp_path / METRICS
    kept = '{"step": 9, "cls_step": 0.1}\n{"step": 11, "val_balanced": 0.25, "epoch": 1}\n'
    log.write_text(kept + '{"step": 12, "cls_step": 0.1}\n{"step": 19, "lo')
    rewind(log, 12)
    assert log.read_text() == kept
    rewind(log, 0)
    assert log.read_text() == ""


def test_the_means_of_an_epoch_go_on_where_they_were() -> None:
    values = [torch.tensor(value) for value in (0.1, 0.7, 0.4)]
    whole, first, second = Terms(), Terms(every=100), Terms()
    for value in values:
        whole.add({"cls": value}, "")
    first.add({"cls": values[0]}, "")
    second.load_state_dict(first.state_dict())
    for value in values[1:]:
        second.add({"cls": value}, "")
    assert second.means() == whole.means()


def test_what_a_kill_leaves_of_a_beginning_occupies_nothing(tmp_path: Path) -> None:
    for name in ("manifest.json", "run.lock", "recipe.yaml.tmp", "data_issues.csv"):
        (tmp_path / name).write_text("")
    check_folder(tmp_path, overwrite=False)
    new_folder(tmp_path, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
