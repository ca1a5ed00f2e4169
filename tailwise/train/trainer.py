"""One training run on Lightning, from weights to weights; knows nothing of methods, only of `Task`.

Lightning takes longer to load than all else together, so this module is imported where a run begins and not before.
"""

import functools
import inspect
import logging
import signal
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from tailwise.data.loader import EvalLoader
from tailwise.task import Task
from tailwise.train import checkpoint
from tailwise.train.compiled import Compiled
from tailwise.train.engine import CHECK_BATCH, precision, training_data
from tailwise.train.learner import Learner
from tailwise.train.log import Cost, RunLogger, progress
from tailwise.train.optim import sgd
from tailwise.train.prepare import Prepared
from tailwise.train.recipe import Engine, Recipe
from tailwise.train.run import CHECKPOINT, Run
from tailwise.train.terms import LOG_EVERY
from tailwise.types import TailwiseError


def train(task: Task, run: Run, recipe: Recipe, prepared: Prepared) -> dict[str, float]:
    """Train the task, continuing from ``last.ckpt`` where there is one; returns what it cost.

    Raises `TailwiseError` when a term is not finite or the disk is full; the last good checkpoint survives both.
    """
    if recipe.epochs == 0:
        return {"seconds": 0.0, "peak_memory_mb": 0}
    engine = recipe.engine
    loader = functools.partial(training_data, recipe, prepared, task.objective.views)
    checked = EvalLoader(prepared.checked, prepared.plain(), batch_size=CHECK_BATCH, workers=engine.workers)
    compiling = [Compiled(engine.compile)] if engine.compile else []
    learner = Learner(task, loader, functools.partial(sgd, **vars(recipe.optim)), recipe.schedule, prepared.checked_name)
    trainer = build_trainer(run.path, recipe, [Cost(), *compiling, *progress(engine.progress)])
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
    return dict(torch.load(last, weights_only=True)["callbacks"][Cost.__name__])


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
        check_val_every_n_epoch=min(engine.check_every, recipe.epochs),
        num_sanity_val_steps=0,
        log_every_n_steps=LOG_EVERY,
        use_distributed_sampler=False,  # the loader knows its rank
        sync_batchnorm=engine.devices > 1 and torch.cuda.is_available(),
        enable_model_summary=False,
        enable_progress_bar=any("ProgressBar" in type(c).__name__ for c in callbacks),
        logger=[RunLogger(folder), TensorBoardLogger(folder, name="", version="tensorboard")],
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
