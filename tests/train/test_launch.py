"""Runs in processes that a launcher started."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from train.jobs import digits

from tailwise.train import launch, parse
from tailwise.train.launch import Launch, as_launched, check_begun, has_begun, launched, shared_out
from tailwise.train.run import Run
from tailwise.types import TailwiseError

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # each forked process runs one thread
NORM_FREE: dict[str, Any] = {"model.backbone": "test_convnext", "data.image_size": 32, "optim.lr": 0.01}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return digits(tmp_path_factory.mktemp("launch") / "one", epochs=1, batch_size=32, **NORM_FREE)


def one_of(rank: int, world: int, port: int, folder: str) -> None:
    """What srun says to a process, and the job that it gives to all."""
    says = {"PROCID": rank, "LOCALID": rank, "NODEID": 0, "STEP_NUM_TASKS": world, "STEP_NUM_NODES": 1}
    os.environ |= {f"SLURM_{name}": str(value) for name, value in says.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    launched.cache_clear()
    assert digits(Path(folder), epochs=1, batch_size=32 // world, **NORM_FREE).finished


def start(world: int, folder: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    mp.start_processes(one_of, (world, port, str(folder)), nprocs=world, start_method="fork")


def test_two_processes_make_the_run_of_one_and_once_it_is_there_leave_it(tmp_path: Path, alone: Run) -> None:
    """Weights, log, looks at validation and the judgement; it is neither lost nor refused when srun starts again."""
    start(2, tmp_path / "two")
    both = Run(tmp_path / "two")
    ours, theirs = (torch.load(run.path / "last.ckpt", weights_only=True)["state_dict"] for run in (both, alone))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    for row, of_one in zip(both.metrics(), alone.metrics(), strict=True):
        assert row == pytest.approx(of_one, abs=2e-6)
    cost = dict.fromkeys(("seconds", "peak_memory_mb"), 0)
    texts = [json.dumps(run.result | cost) for run in (both, alone)]
    ours, theirs = (json.loads(text, parse_float=lambda figure: round(float(figure), 5)) for text in texts)
    assert ours == theirs
    written = (both.path / "result.json").stat().st_mtime_ns
    start(2, both.path)
    assert (both.path / "result.json").stat().st_mtime_ns == written


def test_a_launcher_that_starts_again_goes_on_with_its_own_run_only(tmp_path: Path, alone: Run, monkeypatch: Any) -> None:
    record = parse.resolve(parse.read(alone.path / "recipe.yaml"), ())
    assert not has_begun(alone.path, overwrite=False)  # without a launcher the folder is in the way
    meeting: Any = None
    monkeypatch.setattr(launch, "launched", lambda: Launch(0, 2, 1, meeting))
    assert has_begun(alone.path, overwrite=False)
    engine = as_launched(record).engine
    assert (engine.devices, engine.nodes) == (2, 1)
    assert not has_begun(tmp_path / "new", overwrite=False)
    check_begun(record, alone.path)
    record.epochs = 7
    with pytest.raises(TailwiseError, match=r"holds a run with another recipe \(epochs 1, now 7\)"):
        check_begun(record, alone.path)
    record.max_minutes = 3.0
    with pytest.raises(TailwiseError, match=r"another recipe \(max_minutes null, now 3.0\)"):
        check_begun(record, alone.path)
    with pytest.raises(TailwiseError, match="--overwrite: a launcher that starts again would lose the run"):
        has_begun(alone.path, overwrite=True)


def test_other_processes_share_the_batch_that_a_run_began_with(tmp_path: Path, alone: Run, monkeypatch: Any) -> None:
    recipe = parse.build(parse.resolve(parse.read(alone.path / "recipe.yaml"), ()))
    assert shared_out(recipe, tmp_path) == recipe
    meeting: Any = None
    monkeypatch.setattr(launch, "launched", lambda: Launch(0, 2, 2, meeting))
    shared = shared_out(recipe, tmp_path)
    assert (shared.batch_size, shared.engine.devices, shared.engine.nodes) == (8, 2, 2)
    monkeypatch.setattr(launch, "launched", lambda: Launch(0, 3, 1, meeting))
    with pytest.raises(TailwiseError, match="began with 1 processes, 32 samples a step, which 3 cannot share"):
        shared_out(recipe, tmp_path)


def test_srun_without_an_address_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    launched.cache_clear()
    with pytest.raises(TailwiseError, match=r"srun: .* export MASTER_ADDR=\$\(scontrol show hostnames"):
        launched()
