"""What a run says while it trains: ``metrics.jsonl``, loggers by name, a progress bar, or a line per epoch."""

import csv
import json
import math
import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from tailwise.doctor.signals import VITAL
from tailwise.train.loggers import check, named, unusable
from tailwise.train.run import METRICS, rows

UNSAID = tuple(f"_{group}" for group in ("many", "medium", "few"))
"""Ends of figures that are in the log and not on the line of an epoch, which has the mean of them."""


class Rows(Logger):
    """Appends rows to ``metrics.jsonl``, also after a resume."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def name(self) -> str:
        return "tailwise"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The recipe is in ``recipe.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """One row."""
        with (self.folder / METRICS).open("a") as file:
            file.write(json.dumps({"step": step, **{k: _plain(v) for k, v in metrics.items()}}) + "\n")


class RunLogger(Rows):
    """`Rows`, and at the end ``metrics.csv``, the same as a table."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the table."""
        logged = rows(self.folder / METRICS)
        columns = list(dict.fromkeys(key for row in logged for key in row))
        with (self.folder / "metrics.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(logged)


def loggers(names: str | Sequence[str], folder: Path) -> list[Logger]:
    """The run's own log, `Rows`, and those that are named, one or several.

    - ``csv``: the log as ``metrics.csv`` too.
    - ``tensorboard``: event files in ``tensorboard/``.
    - ``wandb``: Weights & Biases, files in ``wandb/``; the project is that of WANDB_PROJECT, else tailwise.
    - ``mlflow``: to MLFLOW_TRACKING_URI, else where mlflow itself writes: ``./mlflow.db``, of old versions ``./mlruns``; the
      experiment is that of MLFLOW_EXPERIMENT_NAME, else tailwise.

    The run is called like its folder there; a resumed one begins anew with the last two. Raises `TailwiseError` as
    `tailwise.train.loggers.check` does, and for one that cannot be made.
    """
    check(names)
    names = named(names)
    made: list[Logger] = [RunLogger(folder) if "csv" in names else Rows(folder)]
    for name, make in (("tensorboard", _tensorboard), ("wandb", _wandb), ("mlflow", _mlflow)):
        if name in names:
            try:
                made.append(make(folder))
            except Exception as error:
                raise unusable(name, error) from error
    return made


def _tensorboard(folder: Path) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger
    from torch.utils import tensorboard  # noqa: F401  # else a broken one is found in the first step

    return TensorBoardLogger(folder, name="", version="tensorboard")


def _wandb(folder: Path) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(name=folder.name, save_dir=folder, project=os.environ.get("WANDB_PROJECT", "tailwise"))


def _mlflow(folder: Path) -> Logger:
    from lightning.pytorch.loggers import MLFlowLogger

    # mlflow's own default place, for mlflow 3 refuses Lightning's; and not inside the folder: its constructor writes, and
    # a run's folder must be empty before it begins
    where, experiment = import_module("mlflow").get_tracking_uri(), os.environ.get("MLFLOW_EXPERIMENT_NAME", "tailwise")
    return MLFlowLogger(experiment, run_name=folder.name, tracking_uri=where)


def _plain(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None  # JSON has no other word for what is not a number
    return int(value) if float(value).is_integer() else round(float(value), 6)


class Cost(Callback):
    """What training took, over all resumes: seconds, and the peak memory of the process (of the GPU where there is one)."""

    def __init__(self) -> None:
        self.before, self.started, self.peak = 0.0, 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def state_dict(self) -> dict[str, float]:
        seconds = self.before + (time.perf_counter() - self.started)
        return {"seconds": round(seconds, 1), "peak_memory_mb": round(max(self.peak, peak_memory()) / 2**20)}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.before, self.peak = state_dict["seconds"], int(state_dict["peak_memory_mb"]) * 2**20


def peak_memory() -> int:
    """Bytes: the most that this process has had allocated on the GPU, else resident; 0 where the system does not tell."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Lines(Callback):
    """One line per epoch on standard error, for logs and pipes, where a progress bar is noise."""

    def __init__(self) -> None:
        self.last = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.last = time.perf_counter()  # a resume within an epoch starts none

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.last = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        looked = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        skipped = "_step" if looked else ("_step", "_balanced")  # a figure of an earlier epoch is not shown again
        shown = [(k.removesuffix("_epoch"), v) for k, v in trainer.callback_metrics.items() if not k.endswith(skipped)]
        shown = [(k, v) for k, v in shown if not k.startswith(VITAL) and not k.endswith(UNSAID)]
        shown.sort(key=lambda figure: figure[0].endswith("_balanced"))  # after the terms of the loss
        terms = "  ".join(f"{k} {float(v):.3f}" for k, v in shown)
        seconds = time.perf_counter() - self.last
        if trainer.is_global_zero:
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {terms}  {seconds:.1f} s", file=sys.stderr)


def progress(kind: str) -> list[Callback]:
    """The callbacks for ``auto`` (a bar on a terminal, else lines), ``bar``, ``lines`` or ``none``."""
    from lightning.pytorch.callbacks import RichProgressBar

    if kind == "auto":
        kind = "bar" if sys.stderr.isatty() else "lines"
    shown: dict[str, type[Callback]] = {"bar": RichProgressBar, "lines": Lines}
    return [shown[kind]()] if kind in shown else []
