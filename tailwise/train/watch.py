"""The doctor beside a training run: what modules tell goes into the log, and what is wrong is said when it first appears."""

import sys
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from tailwise.doctor import examine, signals
from tailwise.doctor.signals import SPLITS, VITAL
from tailwise.doctor.vitals import Vitals
from tailwise.task import Task
from tailwise.train.diagnosis import findings
from tailwise.train.run import FINDINGS, METRICS, Run, rows, write_json


class Watch(Callback):
    """After each epoch logs the vitals of the objective and the learning rate, and warns once of each new finding.

    Findings go to standard error and, with their epoch, into ``findings.json``. Nothing of the training is touched. All
    that is remembered follows from the log and the checkpoint, so a resumed run says what an undisturbed one would.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.vitals = folder, Vitals()
        self.looked = False
        self.log_rows: list[dict[str, Any]] = []
        self.told: dict[str, dict[str, Any]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        begun = trainer.current_epoch
        self.log_rows = [row for row in rows(self.folder / METRICS) if row.get("epoch", begun) < begun]
        self.told = {name: told for name, told in findings(Run(self.folder)).items() if told["epoch"] <= begun}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.looked = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        task = cast(Task, pl_module.task)
        found = {f"{VITAL}{name}": value for name, value in self.vitals.collect(task.objective).items()}
        found[f"{VITAL}lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        pl_module.log_dict(found)
        looks, self.looked = self.looked, False
        skipped = ("vital_",) if looks else ("vital_", *(f"{split}_" for split in SPLITS))  # a figure of an earlier epoch
        known = {k: float(v) for k, v in trainer.callback_metrics.items() if not k.startswith(skipped)}
        self.log_rows.append({"epoch": trainer.current_epoch, **known, **found})
        if trainer.is_global_zero:
            self._warn(trainer.current_epoch + 1, trainer.max_epochs or 1)

    def _warn(self, epoch: int, epochs: int) -> None:
        for check in examine(signals(self.log_rows, epochs)):
            if check.found and check.name not in self.told:
                self.told[check.name] = {"epoch": epoch, **check._asdict()}
                write_json(self.folder / FINDINGS, self.told)
                print(f"doctor, epoch {epoch}: {check.name}: {check.measured}. {check.advice}", file=sys.stderr)

    def state_dict(self) -> dict[str, Any]:
        return self.vitals.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.vitals.load_state_dict(state_dict)
