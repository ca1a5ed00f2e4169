"""From a trained task to the model that is shipped: the prior that it carries, the post-hoc step, its two files."""

import sys
from typing import cast

import torch
from torch import Tensor

from tailwise.data.loader import EvalLoader
from tailwise.data.samplers import Sampler, Shuffled
from tailwise.evaluate import collect
from tailwise.losses import Objective
from tailwise.models import Network, Saved, save
from tailwise.posthoc import Validation
from tailwise.task import Task
from tailwise.train.engine import CHECK_BATCH
from tailwise.train.prepare import Prepared
from tailwise.train.recipe import Recipe
from tailwise.train.run import Run


def finish(task: Task, run: Run, recipe: Recipe, prepared: Prepared) -> None:
    """Apply the recipe's post-hoc step to the trained model, and write ``model.safetensors`` and ``model.json``."""
    step, model = recipe.post_hoc, cast(Network, task.model)
    validation = _validation(model, prepared) if step.reads_validation else None
    if recipe.epochs:
        carried = carried_log_prior(task.objective, recipe.sampler, recipe.epochs)
    else:  # nothing was trained, so the logits are those of the run that it starts from
        carried = torch.tensor(Saved(cast(str, recipe.model.start_from)).about["carried_log_prior"])
    carried, chosen = step(model, validation, prepared.counts, carried)
    about = {
        "classes": prepared.names,
        "image_size": prepared.size,
        "normalisation": {"mean": prepared.normalise.mean, "std": prepared.normalise.std},
        "train_counts": prepared.counts,
        "carried_log_prior": carried.detach().cpu(),
        "post_hoc": {type(step).__name__: chosen},
    }
    save(model, run.path, about)


def carried_log_prior(objective: Objective, sampler: Sampler, epochs: int) -> Tensor:
    """(C,) the log prior that the logits carry: the objective's, moved by how the sampler ends up showing the classes."""
    return objective.carried_log_prior + _shift(objective, sampler, epochs)


def _shift(objective: Objective, sampler: Sampler, epochs: int) -> Tensor:
    """log of the class shares that the sampler aims at in the last epoch, less log π; classes that are absent keep 0."""
    counts, progress = objective.counts.cpu(), float(epochs > 1)  # a single epoch is the first and the last
    shares, natural = (drawn.shares(counts, progress).clamp(min=1e-300).log() for drawn in (sampler, Shuffled()))
    shift = shares - natural  # not − log π, which gives absent classes a share
    return shift.masked_fill(counts == 0, 0.0).to(objective.log_prior)


def warn_of_double_correction(objective: Objective, sampler: Sampler, epochs: int) -> None:
    """Say so when the sampler balances classes for an objective that corrects for their frequencies already."""
    corrects = not torch.allclose(objective.carried_log_prior, objective.log_prior, atol=1e-4)
    if corrects and float(_shift(objective, sampler, epochs).abs().max()) > 1e-3:
        method, drawn = type(objective).__name__, type(sampler).__name__
        print(
            f"sampler {drawn} balances the classes and {method} corrects for their frequencies: the correction is applied "
            "twice; use one of the two",
            file=sys.stderr,
        )


def _validation(model: Network, prepared: Prepared) -> Validation | None:
    if prepared.checked_name != "val":
        return None
    loader = EvalLoader(prepared.checked, prepared.plain(), batch_size=CHECK_BATCH)
    return Validation(*collect(model, loader))
