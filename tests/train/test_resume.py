"""Runs that were interrupted, went wrong or were damaged, and how they go on."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train.jobs import SMALL, digits, interrupt_in

from tailwise.train import learner, resume
from tailwise.train.fit import evaluate
from tailwise.train.run import Run
from tailwise.train.terms import Terms
from tailwise.types import TailwiseError


@pytest.mark.parametrize(("error", "check_every"), [(KeyboardInterrupt, 1), (RuntimeError, 2)])
def test_a_resumed_run_ends_bit_equal_to_one_that_was_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], check_every: int
) -> None:
    options: dict[str, Any] = {"epochs": 3, "objective": "GML", "objective.queue_size": 64, "engine.check_every": check_every}
    whole = digits(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        interrupt_in(patch, 1, error)
        with pytest.raises(error):
            digits(tmp_path / "cut", **options)
    cut = Run(tmp_path / "cut")
    assert not cut.finished
    whole_epoch = torch.load(whole.path / "last.ckpt", weights_only=True)["global_step"] // 3
    assert torch.load(cut.path / "last.ckpt", weights_only=True)["global_step"] == whole_epoch
    assert resume(cut.path).finished
    kept, again = (load_file(run.path / "model.safetensors") for run in (whole, cut))
    assert all(torch.equal(kept[key], again[key]) for key in kept)
    states = [torch.load(run.path / "last.ckpt", weights_only=True)["state_dict"] for run in (whole, cut)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])  # the queue and the teacher too
    cost = {"seconds": 0, "peak_memory_mb": 0}
    assert whole.result | cost == cut.result | cost
    assert [row["step"] for row in cut.metrics()] == [row["step"] for row in whole.metrics()]  # no epoch is logged twice


def test_a_run_interrupted_before_its_judgement_is_only_judged(tmp_path: Path, done: Run) -> None:
    copy = shutil.copytree(done.path, tmp_path / "copy")
    for name in ("result.json", "model.safetensors", "model.json"):
        (copy / name).unlink()
    again = resume(copy)
    assert again.result == done.result  # the seconds too
    kept, new = (load_file(path / "model.safetensors") for path in (done.path, copy))
    assert all(torch.equal(kept[key], new[key]) for key in kept)


def test_an_interrupt_leaves_python_interruptible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    interrupt_in(monkeypatch, 0, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        digits(tmp_path / "cut")
    assert signal.getsignal(signal.SIGINT) is before


def leave(run: Path) -> None:
    """As it is."""


def remove_result(run: Path) -> None:
    (run / "result.json").unlink()


def garble_checkpoint(run: Path) -> None:
    remove_result(run)
    (run / "last.ckpt").write_bytes(b"not a checkpoint")


def halve_checkpoint(run: Path) -> None:
    remove_result(run)
    (run / "last.ckpt").write_bytes((run / "last.ckpt").read_bytes()[:10_000])


def foreign_checkpoint(run: Path) -> None:
    remove_result(run)
    content = torch.load(run / "last.ckpt", weights_only=True)
    content["state_dict"] = {f"other.{key}": value for key, value in content["state_dict"].items()}
    torch.save(content, run / "last.ckpt")


def foreign_recipe(run: Path) -> None:
    remove_result(run)
    (run / "recipe.yaml").write_text("flour: 500\n")


def broken_recipe(run: Path) -> None:
    remove_result(run)
    (run / "recipe.yaml").write_text("flour: [500\n")


def no_recipe(run: Path) -> None:
    (run / "recipe.yaml").unlink()


def other_data(run: Path) -> None:
    remove_result(run)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["data"]["sha256"] = "0" * 64
    (run / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (leave, "is finished already"),
        (garble_checkpoint, "last.ckpt: not a checkpoint of this run"),
        (halve_checkpoint, "last.ckpt: not a checkpoint of this run"),
        (foreign_checkpoint, "last.ckpt: not a checkpoint of this run"),
        (foreign_recipe, "no key 'flour'"),
        (broken_recipe, "not readable YAML"),
        (no_recipe, "not a run of tailwise"),
        (other_data, "the data have changed since this run began"),
    ],
)
def test_a_finished_foreign_or_damaged_run_is_not_resumed(tmp_path: Path, done: Run, damage: Any, message: str) -> None:
    copy = shutil.copytree(done.path, tmp_path / "copy")
    damage(copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name != "recipe.yaml"}
    with pytest.raises(TailwiseError, match=message) as caught:
        resume(copy)
    assert "\n" not in str(caught.value)
    assert all(path.read_bytes() == content for path, content in before.items() if path.name != "manifest.json")


def test_a_garbled_record_says_how_to_mend_it(tmp_path: Path, done: Run) -> None:
    copy = shutil.copytree(done.path, tmp_path / "copy")
    (copy / "result.json").write_text("{")
    with pytest.raises(TailwiseError, match=r"result\.json: not readable .*`tailwise evaluate .*` writes it anew"):
        print(Run(copy).result)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(TailwiseError, match=r"manifest\.json: not readable .*delete it, then `tailwise fit --resume"):
        evaluate(copy)


def test_a_loss_that_is_not_finite_stops_the_run_before_any_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=r"term 'cls' is not finite at step 1 \(epoch 0\)"):
        digits(tmp_path / "run", **{"optim.lr": 1e30})
    assert not (tmp_path / "run" / "last.ckpt").exists()


@pytest.mark.parametrize("every", [1, 7, 1000])  # steps between two looks; 1000 looks at the end of an epoch only
def test_a_loss_that_is_not_finite_later_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    monkeypatch.setattr(learner, "Terms", lambda **_: Terms(every))
    monkeypatch.setattr(learner, "LOG_EVERY", every)
    words = {"optim.lr": 1e-3, "epochs": 3, "schedule": "Steps", "schedule.warmup": 0}
    words |= {"schedule.milestones": [1], "schedule.gamma": 1e33}  # the second epoch's rate is 1e30
    with pytest.raises(TailwiseError, match=r"term 'cls' is not finite at step 7 \(epoch 1\)"):  # the second of its steps
        digits(tmp_path / "run", **words)
    content = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 6
    assert all(bool(value.isfinite().all()) for value in content["state_dict"].values())


FULL_DISK = """
import resource, signal, sys
from tailwise.cli import main
from tailwise.train.learner import Learner
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
old = Learner.training_step
def step(self, *args):
    if self.current_epoch == 1:  # after the first checkpoint, nothing larger than this fits
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
    return old(self, *args)
Learner.training_step = step
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("limit", [100_000, 40])  # the checkpoint does not fit; not even a line of the log does
def test_a_full_disk_is_one_line_and_the_last_checkpoint_still_loads(tmp_path: Path, limit: int) -> None:
    words = [f"--{key}={value}" for key, value in SMALL.items()]
    job = ["fit", "digits", *words, "--epochs=3", "--imbalance-factor=10", f"--out={tmp_path / 'run'}"]
    ended = subprocess.run([sys.executable, "-c", FULL_DISK, str(limit), *job], capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert "could not be written" in ended.stderr
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert not list((tmp_path / "run").glob("*.tmp"))
    assert resume(tmp_path / "run").finished
