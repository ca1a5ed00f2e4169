"""From a trained task to the model that is shipped: the prior it carries, the post-hoc step, its calibration, its files."""

import sys
from typing import Any, cast

import torch
from torch import Tensor

from tailwise import calibrate, conformal
from tailwise.counts import absent
from tailwise.data.samplers import Sampler, Shuffled
from tailwise.losses import Objective
from tailwise.models import Network, Saved, save
from tailwise.models.adapters import merge
from tailwise.posthoc import Validation
from tailwise.priors import adjust
from tailwise.task import Task
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Engine, Recipe
from tailwise.train.run import Run
from tailwise.types import IGNORE


def finish(task: Task, run: Run, recipe: Recipe, prepared: Prepared) -> None:
    """Apply the recipe's post-hoc step to the trained model, calibrate it, and write the files that are shipped.

    ``model.safetensors`` and ``model.json``; and where there is a validation split, what `tailwise.calibrate` and
    `tailwise.conformal` learn from it: ``calibration`` in ``model.json``, and ``validation.safetensors``.
    """
    step, model = recipe.post_hoc, merge(cast(Network, task.model))
    before = _validation(model, prepared, recipe.engine) if step.reads_validation else None
    if recipe.epochs:
        carried = carried_log_prior(task.objective, recipe.sampler, recipe.epochs)
    else:  # nothing was trained, so the logits are those of the run that it starts from
        carried = torch.tensor(Saved(cast(str, recipe.model.start_from)).about["carried_log_prior"])
    carried, chosen = step(model, before, prepared.counts, carried)
    after = _validation(model, prepared, recipe.engine)
    about = {
        **prepared.about(),
        "carried_log_prior": carried.detach().cpu(),
        "post_hoc": {type(step).__name__: chosen},
        "calibration": None if after is None else _calibrated(after, carried.detach().cpu(), prepared.counts, run),
    }
    save(model, run.path, about)


def _validation(model: Network, prepared: Prepared, engine: Engine) -> Validation | None:
    """The model's logits of the validation split, computed on a GPU where the engine may use one; None without such a split."""
    if prepared.checked_name != "val":
        return None
    home = next(model.parameters()).device
    try:
        return prepared.validation(model.cuda() if torch.cuda.is_available() and engine.accelerator != "cpu" else model)
    finally:
        model.to(home)


def _calibrated(validation: Validation, carried: Tensor, counts: Tensor, run: Run) -> dict[str, Any] | None:
    """What ``model.json`` says of the calibration; writes the summary of the held-out samples beside it.

    None where no sample is of a class that can be predicted, and of a model that diverged, which its judge says.
    """
    absence = absent(counts)
    known = (validation.labels != IGNORE) & ~absence[validation.labels.clamp(min=0)]
    logits, labels = validation.logits[known].cpu(), validation.labels[known].cpu()
    if not len(labels) or not bool(logits.isfinite().all()):
        return None
    logits = adjust(logits, carried, absent=absence)
    conformal.write(conformal.held_out(logits, labels), run.path)
    calibration, losses = calibrate.choose(logits, labels, absence)
    return {**calibration._asdict(), "samples": len(labels), "validation_loss": losses}


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
