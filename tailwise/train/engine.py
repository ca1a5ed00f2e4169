"""What a recipe's training is made of: the task, its batches, the precision; knows nothing of methods, nor of Lightning."""

from typing import Any

import torch

from tailwise import distributed
from tailwise.data.loader import EvalLoader, TrainLoader
from tailwise.models import Saved
from tailwise.task import Task
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Engine, Recipe


def build_task(recipe: Recipe, prepared: Prepared) -> Task:
    """The model and its objective, weights drawn from the recipe's seed or taken from the run to start from."""
    torch.manual_seed(recipe.seed)
    net = recipe.model
    model = prepared.network(net)
    if net.start_from is not None:
        model.load_stage(Saved(net.start_from).network, classifier=net.reinitialise != "classifier")
    if net.freeze == "backbone":
        model.freeze()
    return Task(model, recipe.objective(prepared.counts, model))


def training_data(recipe: Recipe, prepared: Prepared, views: int, device: torch.device) -> TrainLoader:
    """This process's share of the training batches; small images are augmented on the device, unless there are workers."""
    return TrainLoader(
        prepared.train if recipe.engine.workers else prepared.train.to(device),
        prepared.views(views),
        batch_size=recipe.batch_size or 128,  # settled
        seed=recipe.seed,
        rank=distributed.rank(),
        world=distributed.world(),
        workers=recipe.engine.workers,
        sampler=recipe.sampler,
        epochs=recipe.epochs,
    )


def checking_data(recipe: Recipe, prepared: Prepared) -> EvalLoader:
    """This process's share of what is looked at between epochs."""
    return EvalLoader(
        prepared.checked,
        prepared.plain(),
        batch_size=prepared.check_batch,
        workers=recipe.engine.workers,
        rank=distributed.rank(),
        world=distributed.world(),
    )


def processes(engine: Engine) -> int:
    """How many train together, on all machines."""
    return engine.devices * engine.nodes


def precision(engine: Engine) -> Any:
    """bf16 autocast where the hardware computes in it, else float32; or what the recipe says."""
    if engine.precision != "auto":
        return engine.precision
    if torch.cuda.is_available() and engine.accelerator in ("auto", "gpu", "cuda"):
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # private, so they may go: then float32
    fast = any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return "bf16-mixed" if fast and engine.accelerator in ("auto", "cpu") else "32-true"
