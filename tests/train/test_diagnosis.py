"""A damaged file of a run is one line with its name and what to do, whoever looks; a note of findings stops nothing."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lightning.pytorch import LightningModule, Trainer

from tailwise.train.diagnosis import diagnosis, findings
from tailwise.train.run import Run
from tailwise.train.watch import Watch
from tailwise.types import TailwiseError

FOUND = {"name": "dead queue", "severity": "warning", "measured": "10 %", "what": "little", "advice": "make it smaller"}
RESULT = {"recipe": "r", "seed": 0, "worst": None, "balanced": 0.5, "epochs": 2}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A judged run of two epochs."""
    (tmp_path / "recipe.yaml").write_text("epochs: 2\n")
    (tmp_path / "metrics.jsonl").write_text('{"step": 3, "loss_epoch": 2.0, "epoch": 0}\n{"step": 6, "loss_step": 1}\n')
    (tmp_path / "result.json").write_text(json.dumps(RESULT))
    return Run(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "epochs: 2\nx: [", "x: 2", "epochs: two", "epochs: .nan", f"epochs: 1{'0' * 400}", "[2]"]
)
def test_a_damaged_recipe(run: Run, text: str) -> None:
    (run.path / "recipe.yaml").write_text(text)
    with pytest.raises(TailwiseError, match=rf"^{run.path}/recipe\.yaml: ") as caught:
        diagnosis(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        '"loss_epoch": "abc", "epoch": 0',
        '"loss_epoch": 1, "epoch": "x"',
        '"loss_epoch": 1, "epoch": null',
        '"loss_epoch": 1, "epoch": -1',
        '"loss_epoch": 1, "epoch": 1e999',
        '"loss_epoch": 1',
        f'"loss_epoch": {"[" * 900}{"]" * 900}, "epoch": 0',
        '"loss_epoch": NaN, "epoch": 0',
        f'"loss_epoch": 1{"0" * 400}, "epoch": 0',
        r'"vital_\ud800_filled": 1, "epoch": 0',
    ],
)
def test_a_damaged_log(run: Run, row: str) -> None:
    (run.path / "metrics.jsonl").write_text(f'{{"step": 1, "loss_step": 1}}\n{{"step": 2, {row}}}\n{{"step": 3, "lo')
    with pytest.raises(TailwiseError, match=r"metrics\.jsonl: damaged \(line 2: .*; delete this line"):
        diagnosis(run)


@pytest.mark.parametrize(
    "damage",
    [
        {"leak": {}},
        {"leak": 5},
        {"leak": {"test": 0, "alike": 1, "equal": 1, "only_equal": True}},
        {"gap": {"many": "<b>"}},
        {"gap": {"many": "<b>", "medium": 0.1, "few": 0.1}},
        {"thirds": [1]},
        {"epochs": "two"},
        {"carried_prior": "all"},
        {"carried_prior": 0.0, "per_class": [{"train": "x", "test": 1, "predicted": 1}] * 3},
        {"carried_prior": 0.0, "per_class": 7},
        {"task": []},
    ],
)
def test_a_damaged_result(run: Run, damage: dict[str, Any]) -> None:
    (run.path / "result.json").write_text(json.dumps(RESULT | damage))
    with pytest.raises(TailwiseError, match=r"result\.json: not a result \(.*; `tailwise evaluate .* anew") as caught:
        diagnosis(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        {"dead queue": 5},
        {"dead queue": FOUND},  # no epoch
        {"dead queue": {**FOUND, "epoch": "five"}},
        {"dead queue": {**FOUND, "epoch": 1, "measured": float("nan")}},
        {"dead queue": {**FOUND, "epoch": 1, "advice": "\ud800"}},
        {"another": {**FOUND, "epoch": 1}},
    ],
)
def test_a_damaged_finding_is_one_that_nobody_noted(run: Run, damage: dict[str, Any]) -> None:
    path, sound = run.path / "findings.json", {**FOUND, "name": "slow convergence", "epoch": 1}
    path.write_text(json.dumps({**damage, "slow convergence": {**sound, "more": 1}}))
    assert findings(run) == {"slow convergence": sound}
    diagnosis(run)
    watch = Watch(run.path)
    watch.on_train_start(cast(Trainer, SimpleNamespace(current_epoch=2)), cast(LightningModule, None))
    assert watch.told == {"slow convergence": sound}
    path.write_text("[" * 100_000)
    assert findings(run) == {}
