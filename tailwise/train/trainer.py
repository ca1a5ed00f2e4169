"""One training run on Lightning, from weights to weights; knows nothing of methods, only of `Task`.

Lightning takes longer to load than all else together, so this module is imported where a run begins and not before.
"""

import functools
import inspect
import logging
import math
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from tailwise.data.loader import EvalLoader
from tailwise.task import Task
from tailwise.train import checkpoint
from tailwise.train.compiled import Compiled
from tailwise.train.engine import precision, training_data
from tailwise.train.learner import Learner
from tailwise.train.log import Cost, loggers, progress
from tailwise.train.optim import optimizer as make_optimizer
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Engine, Recipe
from tailwise.train.run import CHECKPOINT, Run
from tailwise.train.terms import LOG_EVERY
from tailwise.types import TailwiseError


class Deadline(Callback):
    """Ends training after the first step past ``until`` (seconds of `time.monotonic`), less what earlier commands trained for.

    That is the safeguard of a time limit whose epochs were planned on a machine that was quicker then. A run that was
    ended so is not continued by a resume.
    """

    def __init__(self, until: float, cost: Cost) -> None:
        self.until, self.cost, self.passed = until, cost, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.until -= self.cost.before
        if trainer.global_step:  # else one step at least, which leaves a checkpoint
            self._look(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        late = self.passed or time.monotonic() > self.until
        if trainer.strategy.reduce_boolean_decision(late, all=False):  # all ranks at the same step
            self.passed = trainer.should_stop = True

    def state_dict(self) -> dict[str, bool]:
        return {"passed": self.passed}

    def load_state_dict(self, state_dict: dict[str, bool]) -> None:
        self.passed = state_dict["passed"]


def train(task: Task, run: Run, recipe: Recipe, prepared: Prepared, until: float = math.inf) -> dict[str, Any]:
    """Train the task, continuing from ``last.ckpt`` where there is one; returns what it cost.

    With ``until``, see `Deadline`, also what became of the time limit.
    Raises `TailwiseError` when a term is not finite or the disk is full; the last good checkpoint survives both.
    """
    if recipe.epochs == 0:
        return {"seconds": 0.0, "peak_memory_mb": 0}
    engine = recipe.engine
    loader = functools.partial(training_data, recipe, prepared, task.objective.views)
    checked = EvalLoader(prepared.checked, prepared.plain(), batch_size=prepared.check_batch, workers=engine.workers)
    compiling = [Compiled(engine.compile)] if engine.compile else []
    optimizer = functools.partial(make_optimizer, **vars(recipe.optim))
    learner = Learner(task, loader, optimizer, recipe.schedule, prepared.tally, prepared.looked)
    cost = Cost()
    limits = [Deadline(until, cost)] if until < math.inf else []
    trainer = build_trainer(run.path, recipe, [cost, *limits, *compiling, *progress(engine.progress)])
    last, on_interrupt = run.path / CHECKPOINT, signal.getsignal(signal.SIGINT)
    if last.is_file():
        checkpoint.check(last, learner)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # lightning's own use of torch
            warnings.filterwarnings("ignore", module="lightning.*", category=UserWarning)  # advice about its own loaders
            trainer.fit(learner, val_dataloaders=checked, ckpt_path=last if last.is_file() else None, weights_only=True)
    except OSError as error:
        raise TailwiseError(
            f"{run.path}: could not be written ({error.strerror or error}); the last checkpoint is whole: free some space, "
            f"then `tailwise fit --resume {run.path}`"
        ) from error
    except SystemExit as error:  # lightning's answer to an interrupt, after it has switched further ones off
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from error
    saved = torch.load(last, weights_only=True)
    spent = dict(saved["callbacks"][Cost.__name__])
    if limits:
        steps = recipe.steps or max(len(loader(torch.device("cpu"))) // engine.devices, 1)
        done = saved["global_step"] / steps
        spent |= {"epochs": round(done, 2), "time_limit": {"minutes": recipe.max_minutes, "cut_off": done < recipe.epochs}}
    return spent


def build_trainer(folder: Path, recipe: Recipe, callbacks: list[Callback]) -> Trainer:
    """Lightning's trainer for a run folder; raises `TailwiseError` for hardware that is not there."""
    try:
        return _trainer(folder, recipe, callbacks)
    except (MisconfigurationException, ValueError) as error:
        raise TailwiseError(f"engine: {str(error).splitlines()[0]}") from error


def _trainer(folder: Path, recipe: Recipe, callbacks: list[Callback]) -> Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    engine = recipe.engine
    saving = ModelCheckpoint(
        dirpath=folder,
        filename=Path(CHECKPOINT).stem,
        every_n_epochs=1,
        save_on_train_epoch_end=True,  # else only in epochs that look at validation
        enable_version_counter=False,
    )
    return Trainer(
        accelerator=engine.accelerator,
        devices=engine.devices,
        strategy=_strategy(engine),
        precision=precision(engine),
        max_epochs=recipe.epochs,
        limit_train_batches=recipe.steps or 1.0,
        check_val_every_n_epoch=min(engine.check_every, recipe.epochs),
        num_sanity_val_steps=0,
        log_every_n_steps=LOG_EVERY,
        use_distributed_sampler=False,  # the loader knows its rank
        sync_batchnorm=engine.devices > 1 and torch.cuda.is_available(),
        enable_model_summary=False,
        enable_progress_bar=any("ProgressBar" in type(c).__name__ for c in callbacks),
        logger=loggers(engine.loggers, folder),
        callbacks=[*callbacks, saving],
        plugins=[checkpoint.Whole()],
    )


def _strategy(engine: Engine) -> Any:
    if engine.devices == 1:
        return "auto"
    from lightning.pytorch.strategies import DDPStrategy

    known = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    broadcast = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # by torch's age
    # spawned, so that the command is not run again by each rank; a per-step broadcast would overwrite the ranks' queues
    off: dict[str, Any] = {broadcast: False}
    return DDPStrategy(start_method="spawn", **off)
