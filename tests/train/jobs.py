"""Small jobs on the digits."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback

from tailwise.train import fit, trainer
from tailwise.train.run import Run

QUIET = {"engine.progress": "none", "engine.threads": 1, "engine.precision": "32-true", "engine.accelerator": "cpu"}
SMALL = {**QUIET, "model.backbone": "resnet8", "data.largest": 60, "batch_size": 32, "optim.lr": 0.05}


def digits(out: Path, overwrite: bool = False, recipe: Path | None = None, **options: Any) -> Run:
    given = {"epochs": 2, "data.imbalance_factor": 10, "data.validation": 0.1}
    dotted = {key.replace("__", "."): value for key, value in options.items()}
    usual = {} if recipe else {"objective": "CrossEntropy"}
    overrides = {**usual, **SMALL, **given, **dotted}
    return fit("digits", recipe=recipe, out=out, overwrite=overwrite, overrides=overrides)


def interrupt_in(monkeypatch: pytest.MonkeyPatch, epoch: int, error: type[BaseException]) -> None:
    """Stops a run in the first batch of an epoch, counted from 0, that was not trained before."""

    class Stop(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.current_epoch == epoch:
                raise error

    monkeypatch.setattr(trainer, "progress", lambda kind: [Stop()])
