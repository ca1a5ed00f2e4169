"""torch.compile in a run: what is compiled and how, and what happens where it cannot be."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch._inductor.config
from safetensors.torch import load_file
from torch import Tensor, nn
from train.jobs import digits

from tailwise.models import Network
from tailwise.train.compiled import Compiled
from tailwise.types import Output, TailwiseError


class Recorder:
    """Stands for torch.compile: what comes out does the same and counts."""

    def __init__(self, fails_at: int = -1) -> None:
        self.options: list[dict[str, Any]] = []
        self.calls, self.fails_at = 0, fails_at

    def __call__(self, forward: Callable[[Tensor], Output], **options: Any) -> Callable[[Tensor], Output]:
        self.options.append(options)

        def compiled(views: Tensor) -> Output:
            self.calls += 1
            if self.calls == self.fails_at:
                raise RuntimeError("no luck\nand a long story")
            return forward(views)

        return compiled


def test_a_run_that_cannot_compile_ends_as_one_that_need_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = digits(tmp_path / "plain", epochs=1)
    monkeypatch.setattr(torch, "compile", Recorder(fails_at=1))
    run = digits(tmp_path / "run", epochs=1, engine__compile=True)
    assert capsys.readouterr().err.count("engine.compile: running without (RuntimeError: no luck)\n") == 1
    kept, again = (load_file(r.path / "model.safetensors") for r in (plain, run))
    assert all(torch.equal(kept[key], again[key]) for key in kept)


@pytest.mark.parametrize(("mode", "options"), [(True, {}), ("graphs", {"mode": "reduce-overhead", "dynamic": False})])
def test_training_steps_alone_are_compiled_for_student_and_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Any, options: dict[str, Any]
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(torch, "compile", recorder)
    run = digits(tmp_path / "run", epochs=1, objective="BCL", engine__compile=mode)
    steps = sum(run.manifest["data"]["train_counts"]) // 32
    assert recorder.options == [options]
    assert recorder.calls == steps  # the looks at validation and test go another way
    gml = Recorder()
    monkeypatch.setattr(torch, "compile", gml)
    digits(tmp_path / "gml", epochs=1, objective="GML", **{"objective.queue_size": 64, "engine.compile": mode})
    assert len(gml.options) == 2  # its teacher is a network of its own
    assert gml.calls == 2 * steps


def hooked(monkeypatch: pytest.MonkeyPatch, recorder: Recorder | None) -> tuple[Compiled, nn.ModuleList, SimpleNamespace]:
    """Two networks whose compilation has begun."""
    if recorder is not None:
        monkeypatch.setattr(torch, "compile", recorder)
    networks = nn.ModuleList([Network("resnet8", 2), Network("resnet8", 2)])
    for network in networks:
        network.backbone = nn.Sequential(nn.Linear(5, 64), nn.Tanh())  # for rows of five features
    trainer = SimpleNamespace(training=True, is_global_zero=True)
    callback = Compiled(True)
    callback.setup(trainer, networks, "fit")  # type: ignore[arg-type]
    return callback, networks, trainer


VIEWS = torch.rand(1, 2, 5)


def test_without_a_compiler_one_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/nowhere/c++",))
    _, networks, _ = hooked(monkeypatch, None)
    assert [network(VIEWS).logits.shape for network in networks] == [(1, 2, 2)] * 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("engine.compile")]
    assert line.startswith("engine.compile: running without (")
    assert "compiler" in line


def test_a_network_is_what_it_was_when_the_run_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    callback, networks, trainer = hooked(monkeypatch, recorder)
    for network in networks:
        network(VIEWS)
    trainer.training = False
    networks[0](VIEWS)
    callback.teardown(trainer, networks, "fit")  # type: ignore[arg-type]
    networks[0](VIEWS)
    assert recorder.calls == 2
    assert all("forward" not in vars(network) for network in networks)


def test_the_first_failure_stops_all_compiling(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(fails_at=1)
    _, networks, _ = hooked(monkeypatch, recorder)
    for _ in range(2):
        for network in networks:
            assert network(VIEWS).logits.shape == (1, 2, 2)
    assert recorder.calls == 1
    assert capsys.readouterr().err == "engine.compile: running without (RuntimeError: no luck)\n"


def test_a_failure_of_what_has_worked_ends_compiling_and_not_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(fails_at=3)
    _, networks, _ = hooked(monkeypatch, recorder)
    plain = networks[0](VIEWS).logits
    networks[1](VIEWS)
    for _ in range(2):
        assert torch.equal(networks[0](VIEWS).logits, plain)
        networks[1](VIEWS)
    assert recorder.calls == 3
    assert capsys.readouterr().err == "engine.compile: running without (RuntimeError: no luck)\n"


def test_where_torch_compile_itself_refuses_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(forward: Callable[[Tensor], Output], **options: Any) -> None:
        raise RuntimeError("not for this interpreter")

    monkeypatch.setattr(torch, "compile", refuses)
    _, networks, _ = hooked(monkeypatch, None)
    assert [network(VIEWS).logits.shape for network in networks] == [(1, 2, 2)] * 2
    assert capsys.readouterr().err == "engine.compile: running without (RuntimeError: not for this interpreter)\n"


@pytest.mark.parametrize("error", [TailwiseError("rows of four features"), torch.OutOfMemoryError("no room")])
def test_what_fails_without_compiling_too_is_raised_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    _, networks, _ = hooked(monkeypatch, Recorder())
    networks[0](VIEWS)

    def fails(_: Tensor) -> Tensor:
        raise error

    monkeypatch.setattr(networks[0].backbone, "forward", fails)
    with pytest.raises(type(error)) as raised:
        networks[0](VIEWS)
    assert raised.value is error
    assert raised.value.__context__ is None  # nothing of the compiled call is kept, memory least of all
    assert capsys.readouterr().err == ""


def test_graphs_begin_anew_with_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[None] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(None))
    for mode in ("graphs", True):
        Compiled(mode).on_train_batch_start(None, None, None, 0)  # type: ignore[arg-type]
    assert len(begun) == 1


def test_another_mode_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match="compile") as caught:
        digits(tmp_path / "run", engine__compile="sometimes")
    assert "\n" not in str(caught.value)
