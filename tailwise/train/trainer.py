"""One training run on Lightning, from weights to weights; knows nothing of methods, only of `Task`.

Lightning takes longer to load than all else together, so this module is imported where a run begins and not before.
"""

import functools
import inspect
import logging
import math
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer

from tailwise import rng
from tailwise.errors import Told
from tailwise.task import Task
from tailwise.train import checkpoint, same
from tailwise.train.compiled import Compiled
from tailwise.train.engine import checking_data, precision, processes, training_data
from tailwise.train.launch import is_follower, launched, together
from tailwise.train.learner import Learner
from tailwise.train.log import Cost, loggers, progress
from tailwise.train.optim import optimizer as make_optimizer
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Engine, Recipe
from tailwise.train.run import CHECKPOINT, METRICS, Run
from tailwise.train.spawned import spawned
from tailwise.train.terms import LOG_EVERY
from tailwise.train.watch import Watch
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


class Seeds(Callback):
    """Dropout and the like draw as (seed, step, process) say, never by what was drawn before: a resumed run draws the same."""

    STEP = 3
    """Tells these draws from those of the data."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        torch.manual_seed(int(rng.mix(self.seed, trainer.global_step, self.STEP, trainer.global_rank)))


def train(task: Task, run: Run, recipe: Recipe, prepared: Prepared, until: float = math.inf) -> dict[str, Any]:
    """Train the task, continuing from ``last.ckpt`` where there is one; returns what it cost.

    With ``until``, see `Deadline`, also what became of the time limit.
    Raises `TailwiseError` when a term is not finite or the disk is full; the last good checkpoint survives both.
    """
    if recipe.epochs == 0:
        return {"seconds": 0.0, "peak_memory_mb": 0}
    engine = recipe.engine
    loader = functools.partial(training_data, recipe, prepared, task.objective.views)
    checked = functools.partial(checking_data, recipe, prepared)
    compiling = [Compiled(engine.compile)] if engine.compile else []
    optimizer = functools.partial(make_optimizer, **vars(recipe.optim))
    learner = Learner(task, loader, checked, optimizer, recipe.schedule, prepared.tally, prepared.looked)
    cost = Cost()
    limits = [Deadline(until, cost)] if until < math.inf else []
    last, on_interrupt, stamp = run.path / CHECKPOINT, signal.getsignal(signal.SIGINT), same.stamp(run)
    saving = checkpoint.Saving(last, engine.save_every, stamp)
    usual = [saving, Seeds(recipe.seed), cost, *limits, *compiling, *progress(engine.progress), Watch(run.path)]
    trainer = build_trainer(run.path, recipe, usual)
    launcher = None if launched() else trainer.strategy.launcher
    steps = checkpoint.check(last, learner, stamp) if last.is_file() else 0
    if not is_follower():
        if steps:
            print(f"continues after step {steps}", file=sys.stderr)
        checkpoint.rewind(run.path / METRICS, steps)
    try:
        with warnings.catch_warnings(), together(recipe), spawned(launcher, run.path):
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # lightning's own use of torch
            warnings.filterwarnings("ignore", module="lightning.*", category=UserWarning)  # advice about its own loaders
            trainer.fit(learner, ckpt_path=last if last.is_file() else None, weights_only=True)
    except OSError as error:
        raise TailwiseError(
            f"{run.path}: could not be written ({error.strerror or error}); the last checkpoint is whole: free some space, "
            f"then `tailwise fit --resume {run.path}`"
        ) from error
    except Told:
        raise
    except SystemExit as error:  # lightning's answer to an interrupt, after it has switched further ones off
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from error
    saved = torch.load(last, weights_only=True)
    spent = dict(saved["callbacks"][Cost.__name__])
    if limits:
        steps = recipe.steps or max(len(loader(torch.device("cpu"))) // processes(engine), 1)
        done = saved["global_step"] / steps
        spent |= {"epochs": round(done, 2), "time_limit": {"minutes": recipe.max_minutes, "cut_off": done < recipe.epochs}}
    return spent


def build_trainer(folder: Path, recipe: Recipe, callbacks: list[Callback]) -> Trainer:
    """Lightning's trainer for a run folder; raises `TailwiseError` for hardware that is not there."""
    try:
        return _trainer(folder, recipe, callbacks)
    except (MisconfigurationException, ValueError) as error:
        said = str(error).splitlines()[0].rstrip(".!")
        raise TailwiseError(f"engine: {said}; take what this machine has, or leave --engine.accelerator auto") from error


def _trainer(folder: Path, recipe: Recipe, callbacks: list[Callback]) -> Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    engine = recipe.engine
    return Trainer(
        accelerator=engine.accelerator,
        devices=engine.devices,
        num_nodes=engine.nodes,
        strategy=_strategy(engine),
        precision=precision(engine),
        max_epochs=recipe.epochs,
        limit_train_batches=recipe.steps or 1.0,
        check_val_every_n_epoch=min(engine.check_every, recipe.epochs),
        num_sanity_val_steps=0,
        log_every_n_steps=LOG_EVERY,
        use_distributed_sampler=False,  # the loader knows its rank
        sync_batchnorm=processes(engine) > 1 and torch.cuda.is_available(),
        enable_model_summary=False,
        enable_checkpointing=False,  # Lightning's own saves before what belongs to a step is done; see `checkpoint.Saving`
        default_root_dir=folder,
        enable_progress_bar=any("ProgressBar" in type(c).__name__ for c in callbacks),
        logger=loggers(engine.loggers, folder),
        callbacks=callbacks,
        plugins=[checkpoint.Whole(), TorchElasticEnvironment() if launched() else LightningEnvironment()],
    )


def _strategy(engine: Engine) -> Any:
    if processes(engine) == 1:
        return "auto"
    from lightning.pytorch.strategies import DDPStrategy

    known = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    broadcast = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # by torch's age
    off: dict[str, Any] = {broadcast: False}  # each step it would overwrite the ranks' queues
    # spawned, where no launcher has started them, so that the command is not run again by each rank
    return DDPStrategy(start_method="popen" if launched() else "spawn", **off)
