"""The examples of the documentation run as they stand, and find what they promise."""

import importlib.util
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from tailwise.losses import ProCo

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
Main = Callable[..., Any]


@pytest.fixture
def main(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Main]:
    """The ``main`` of the example that the test names."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield runpy.run_path(str(EXAMPLES / f"{request.param}.py"))["main"]
    torch.set_num_threads(threads)
    for name in ("digits", "lightning_module"):  # what the examples import of one another
        sys.modules.pop(name, None)


def test_the_plain_loop_fits_a_screen() -> None:
    assert len((EXAMPLES / "plain.py").read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("main", ["plain"], indirect=True)
def test_the_plain_loop(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    figures = main()
    assert figures["ELM"]["few"] > figures["CrossEntropy"]["few"] + 0.05
    assert figures["ELM"]["balanced"] > 0.75
    assert "ELM overall" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*(many workers|logging interval).*")
@pytest.mark.parametrize("main", ["lightning_module"], indirect=True)
def test_a_lightning_module(main: Main) -> None:
    figures = main()
    assert figures["balanced"] > 0.7
    assert float(figures["logged"]["val_balanced"]) == pytest.approx(figures["balanced"])
    assert float(figures["logged"]["val_few"]) == pytest.approx(figures["few"])


@pytest.mark.parametrize("main", ["huggingface_trainer"], indirect=True)
@pytest.mark.filterwarnings("ignore:mtime may not be reliable:UserWarning")  # of transformers 5.0, on fast disks
def test_the_trainer_of_hugging_face(main: Main, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    trainer, figures = main(tmp_path)
    assert figures["eval_balanced"] > 0.7
    trained = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    objective = trainer.model.task.objective
    assert {id(p) for p in [*objective.query_head.parameters(), *objective.key_head.parameters()]} <= trained
    newest = max(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    saved = load_file(newest / "model.safetensors")
    queue = {name: value for name, value in trainer.model.state_dict().items() if ".queue." in name}
    assert queue
    assert all(torch.equal(saved[name], value) for name, value in queue.items())
    assert objective.queue.read().filled.sum() > 200


@pytest.mark.skipif(importlib.util.find_spec("timm.task") is None, reason="needs a timm that has tasks")
@pytest.mark.parametrize("main", ["timm_train"], indirect=True)
def test_a_task_of_timm(main: Main) -> None:
    task, figures = main(epochs=7)
    assert figures["balanced"] > 0.7
    deployed, averaged = task.get_eval_model(), task.get_eval_model(ema=True)
    saved = task.get_checkpoint_state()
    assert saved["state_dict"].keys() == deployed.state_dict().keys()  # a network of timm, without our heads
    assert saved["task_state"].keys() == task.trainable_module.objective.state_dict().keys()
    assert not torch.equal(averaged.conv1[0].weight, deployed.conv1[0].weight)
    fresh = type(task)(timm.create_model("test_resnet", num_classes=10, in_chans=1), ProCo, [5] * 10)
    fresh.load_checkpoint_state(saved["state_dict"], saved["task_state"])
    assert torch.equal(fresh.trainable_module.objective.counts, task.trainable_module.objective.counts)


@pytest.mark.parametrize("main", ["accelerate_loop"], indirect=True)
def test_accelerate_goes_on_where_it_was_cut_off(main: Main, tmp_path: Path) -> None:
    cut = main(tmp_path, stop=4)
    whole = main(tmp_path)
    assert (cut["first"], whole["first"]) == (0, 4)
    assert whole["held"] == 256
    assert whole["balanced"] > max(0.7, cut["balanced"])
