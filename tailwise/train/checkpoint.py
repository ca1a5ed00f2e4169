"""The checkpoint of a run: when it is written, whole or not at all, and what is looked at before it is continued."""

import io
import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from tailwise.errors import Told
from tailwise.files import go_on, write_whole
from tailwise.models.weights_file import reason
from tailwise.notice import listen
from tailwise.train.run import rows
from tailwise.train.terms import LOG_EVERY, Terms
from tailwise.types import TailwiseError


class Whole(TorchCheckpointIO):
    """Replaces the old checkpoint in one move inside its own folder.

    Lightning moves it there from the system's temporary folder; between two disks that is a copy, which a full disk
    leaves half done in place of the last good checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """See the class; raises `TailwiseError`."""
        packed = io.BytesIO()
        torch.save(checkpoint, packed)
        write_whole(Path(path), packed.getvalue(), go_on(Path(path).parent))


GRACE = 10.0
"""Seconds that a look at validation goes on after a notice, so that a short one is not lost; schedulers wait 30 s or more."""


class Saving(Callback):
    """Saves after each epoch, whenever the last time is ``minutes`` ago, and when a scheduler tells the process to end.

    It does so between two steps: what belongs to the last one is all done, a look at validation and rows of the log too, so
    that a resumed run is as if nothing had been. Told to end, it saves and raises `Told`; during a look that takes longer than
    `GRACE`, which is done again after a resume, and before the first step it only raises. ``stamp`` goes into the file, and
    says which run's it is.
    """

    def __init__(self, path: Path, minutes: float, stamp: Mapping[str, str]) -> None:
        self.path, self.minutes, self.stamp = path, minutes, dict(stamp)
        self.notice, self.told = "", 0.0  # what was heard, and when
        self.step, self.time = 0, 0.0  # of the last checkpoint

    def state_dict(self) -> dict[str, str]:
        return self.stamp

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["terms"] = cast(Terms, pl_module.terms).state_dict()  # of the epoch so far

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        cast(Terms, pl_module.terms).load_state_dict(checkpoint.get("terms", {}))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # what was saved is the moment before a batch; if that was the last of its epoch, Lightning would take it for done
        trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = False
        self.step, self.time = trainer.global_step, time.monotonic()
        listen(self._hear)  # in place of what Lightning does then, in the processes that train

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step  # numbers the rows; off by one after a resume
        looks = trainer.world_size == 1 or pl_module.device.type == "cpu" or trainer.global_step % LOG_EVERY == 0
        late = time.monotonic() - self.time >= 60 * self.minutes
        asked = looks and _anywhere(trainer, late or bool(self.notice))
        if asked or batch_idx == 0:
            self._save(trainer, pl_module)
        if asked:
            self._heed(trainer)

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.world_size == 1 and self.notice and time.monotonic() - self.told > GRACE:  # several end together, after it
            raise Told(self.notice, f", saved at step {self.step}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, pl_module)
        self._heed(trainer)

    def _hear(self, notice: str) -> None:
        self.notice, self.told = notice, time.monotonic()

    def _heed(self, trainer: Trainer) -> None:
        if _anywhere(trainer, bool(self.notice)):
            raise Told(self.notice or "another process", f", saved at step {self.step}")

    def _save(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step == self.step:
            return
        names, values = zip(*((name.removeprefix("task."), value) for name, value in module.named_parameters()), strict=True)
        finite = torch.stack([value.isfinite().all() for value in values]).tolist()  # one wait for a GPU, not one for each
        if bad := [name for name, good in zip(names, finite, strict=True) if not good]:
            what = f"{bad[0]} is not finite after step {trainer.global_step}, not saved"
            raise TailwiseError(f"training: {what}; start another run with a lower --optim.lr")
        trainer.save_checkpoint(self.path)
        self.step, self.time = trainer.global_step, time.monotonic()


def _anywhere(trainer: Trainer, here: bool) -> bool:
    """Whether it is so in any of the processes: they save and end at the same step."""
    return bool(trainer.strategy.reduce_boolean_decision(here, all=False))


def check(path: Path, learner: LightningModule, stamp: Mapping[str, str] | None = None) -> int:
    """How many steps a checkpoint has taken; the learner has its state then.

    Raises `TailwiseError` for a file that is no checkpoint, and one of another model, objective, or ``stamp``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, on how a pickle was written: what matters becomes an error
            content = torch.load(path, map_location="cpu", weights_only=True)
        learner.load_state_dict(content["state_dict"])
        theirs, steps = content.get("callbacks", {}).get(Saving.__name__, stamp), int(content.get("global_step", 0))
    except Exception as error:  # torch.load raises anything on damaged files
        raise TailwiseError(f"{path}: not a checkpoint of this run ({reason(error)}); restore it or start a new run") from error
    if other := [part for part, value in (stamp or {}).items() if not isinstance(theirs, dict) or theirs.get(part) != value]:
        raise TailwiseError(
            f"{path}: not a checkpoint of this run (it has another {', another '.join(other)}); restore it or start a new run"
        )
    return steps


def rewind(log: Path, steps: int) -> None:
    """Take out of ``metrics.jsonl`` what a run that goes on after so many ``steps`` logs again, and lines that were cut off."""
    if log.is_file():
        kept = [json.dumps(row) + "\n" for row in rows(log) if row["step"] < steps]
        write_whole(log, "".join(kept).encode(), go_on(log.parent))
