"""All that training will build, built once before it: a mistake must not cost an older run, nor the time of a teacher."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from tailwise.task import Task
from tailwise.train import needs
from tailwise.train.engine import build_task
from tailwise.train.finish import warn_of_double_correction
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Recipe
from tailwise.types import TailwiseError


def rehearse(recipe: Recipe, prepared: Prepared, folder: Path) -> None:
    """Build all that training will, and show the model a picture; raises what any of it raises."""
    prepared.check(recipe)
    start = None if needs.NEEDED.search(recipe.model.start_from or "") else recipe.model.start_from  # else not there yet
    model = replace(recipe.model, start_from=start, head="random")  # class means take a while
    recipe = replace(recipe, model=model, epochs=max(recipe.epochs, 1))
    task = build_task(recipe, prepared)
    prepared.views(task.objective.views)
    _see(task, recipe, prepared.size)
    with lasting():  # Lightning, after all mistakes that can be found without it
        from tailwise.train.trainer import build_trainer

    build_trainer(folder, recipe, [])
    task.on_epoch(recipe.epochs - 1, recipe.epochs)  # re-weighting may set in late
    warn_of_double_correction(task.objective, recipe.sampler, recipe.epochs)


def _see(task: Task, recipe: Recipe, size: int) -> None:
    """Show the model one empty picture: some networks take pictures of some sizes only."""
    task.model.eval()
    try:
        with torch.no_grad():
            task.model(torch.zeros(1, 1, 3, size, size))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TailwiseError(
            f"data.image_size {size}: {recipe.model.backbone} cannot take such pictures ({reason}); choose another size"
        ) from error
    task.model.train()


@contextmanager
def lasting() -> Iterator[None]:
    """For imports: what they make is not garbage, and looking through it for some takes a quarter of Lightning's time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
