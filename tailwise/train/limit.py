"""A bound on the time of a run: before training, a few steps are measured and the epochs planned that fit.

The plan becomes the recipe's own epochs, so the learning rate, the sampler and the objective come to their end in time, and a
resumed run follows the same plan. Where the machine turns out slower than measured, `tailwise.train.trainer` ends training.
"""

import sys
import time
from dataclasses import replace
from typing import Any

import torch
from jsonargparse import Namespace

from tailwise import evaluate
from tailwise.data.loader import EvalLoader
from tailwise.train import needs
from tailwise.train.choose import MEANS
from tailwise.train.engine import build_task, training_data
from tailwise.train.optim import optimizer
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Recipe
from tailwise.train.run import MANIFEST, Run
from tailwise.types import TailwiseError

STEPS = 3
"""Steps that are measured after a first one, less where they take more than `SHARE` of the time."""
SHARE = 0.05
SLACK = 1.2
"""How much longer things take in the run than when measured: logging, checkpoints, a busier machine."""
FIXED, PER_EPOCH, REPORT = 6.0, 0.1, 0.002
"""Seconds of an idle processor: start of the trainer and the last files; end of an epoch; a test image in the report."""
BUSY = 20.0
"""The most that a busy machine is taken to stretch those."""


def plan(record: Namespace, prepared: Prepared, started: float) -> tuple[Namespace, dict[str, Any] | None]:
    """The record with as many of its epochs as end within ``max_minutes`` of ``started`` (seconds of `time.monotonic`).

    Less than one epoch becomes one of so many ``steps``. With it goes what the manifest says of the limit; None without
    a limit, or training. Raises `TailwiseError` where not one step fits, and for runs whose time cannot be planned.
    """
    if not record.max_minutes or not record.epochs:
        return record, None
    if any(needs.recipe_of(record, needed) for needed in needs.names(record)):
        raise TailwiseError(
            "max_minutes: this recipe trains another first, whose time is not planned; train that, then name its run"
        )
    if record.engine.compile:
        raise TailwiseError("max_minutes: the time that compiling takes cannot be planned; leave engine.compile out")
    recipe = needs.without(record)
    begun, computed = time.monotonic(), time.process_time()
    step, steps, image = measure(recipe, prepared, SHARE * 60 * record.max_minutes)
    busy = min(max((time.monotonic() - begun) / max(time.process_time() - computed, 1e-3), 1.0), BUSY)
    looked_at = len(prepared.checked.labels)
    judged = 2 * len(prepared.test.labels) + len(prepared.train.labels) + 3 * looked_at
    judged += min(max(MEANS, len(prepared.names)), len(prepared.train.labels)) * (recipe.model.head == "class_means")
    reserve = SLACK * image * judged + busy * (FIXED + REPORT * len(prepared.test.labels))
    left = 60 * record.max_minutes - (time.monotonic() - started) - reserve
    end = busy * PER_EPOCH
    epoch = SLACK * (step * steps + image * looked_at / record.engine.check_every) + end
    if left < SLACK * step + end:
        least = record.max_minutes + (SLACK * step + end - left) / 60
        raise TailwiseError(
            f"max_minutes {record.max_minutes:g}: reading the data, one step and judging take about {least:.1f} minutes here; "
            "give more"
        )
    asked, planned = record.epochs, record.clone()
    planned.epochs = min(asked, max(int(left / epoch), 1))
    if left < epoch:
        planned.steps = min(max(int((left - end) / (SLACK * step)), 1), steps)
    _rescale(planned, planned.epochs / asked)
    _say(record, planned, step)
    return planned, {
        "minutes": record.max_minutes,
        "asked_epochs": asked,
        "planned_epochs": planned.epochs,
        "planned_steps": planned.steps,
        "reserved_seconds": round(reserve, 1),
    }


def _rescale(record: Namespace, ratio: float) -> None:
    """Give the warm-up and the milestones of a schedule, which are epochs, their share of a shorter run."""
    options = record.schedule.get("init_args")
    for key in {"warmup", "milestones"} & set(vars(options) if options else ()):
        value = options[key]
        whole = isinstance(value, int)
        options[key] = [round(m * ratio) for m in value] if key == "milestones" else round(value * ratio, None if whole else 3)


def until(run: Run, started: float) -> float:
    """When training must end, in seconds of `time.monotonic`, for a command that was ``started`` then; inf without a limit."""
    limit = run.manifest.get("time_limit") if (run.path / MANIFEST).is_file() else None
    return started + 60 * limit["minutes"] - limit["reserved_seconds"] if limit else float("inf")


def measure(recipe: Recipe, prepared: Prepared, patience: float) -> tuple[float, int, float]:
    """Seconds of one training step, steps in an epoch, seconds to judge one image; on a task that is thrown away."""
    task = build_task(replace(recipe, model=replace(recipe.model, head="random")), prepared)  # the rows are not timed
    device = _device(recipe.engine.accelerator)
    task = task.to(device).train()
    task.on_epoch(0, recipe.epochs)
    loader = training_data(recipe, prepared, task.objective.views, device)
    moves = optimizer(task, **vars(recipe.optim))
    half = torch.autocast(device.type, torch.bfloat16, enabled="bf16" in str(recipe.engine.precision))
    taken: list[float] = []
    begun = time.monotonic()
    for number in range(STEPS + 1):
        start = time.monotonic()
        batch = loader.batch(number)
        read = time.monotonic() - start
        with half:
            loss = torch.stack(
                list(task(batch._replace(**{k: v.to(device) for k, v in batch._asdict().items()})).values())
            ).sum()
        moves.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        moves.step()
        float(loss.detach())  # waits for a GPU
        workers = max(recipe.engine.workers, 1)
        taken.append(time.monotonic() - start - read + read / workers)
        if number and time.monotonic() - begun > patience:
            break
    steps = max(len(loader) // recipe.engine.devices, 1)
    return sum(taken[1:]) / len(taken[1:]), steps, _judging(task.model, prepared, recipe.engine.accelerator)


def _judging(model: torch.nn.Module, prepared: Prepared, accelerator: str) -> float:
    model = model.to("cuda" if torch.cuda.is_available() and accelerator != "cpu" else "cpu")
    some = min(len(prepared.test.labels), max(2, min(prepared.check_batch, 64)))
    loader = EvalLoader(prepared.test.subset(torch.arange(some)), prepared.plain(), batch_size=min(prepared.check_batch, some))
    evaluate.predictions(model, loader)  # the first pass is the slow one
    start = time.monotonic()
    evaluate.predictions(model, loader)
    return (time.monotonic() - start) / some


def _device(accelerator: str) -> torch.device:
    """Where the trainer will put the task."""
    if torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda"):
        return torch.device("cuda")
    mps = torch.backends.mps.is_available() and accelerator in ("auto", "gpu", "mps")
    return torch.device("mps" if mps else "cpu")


def _say(record: Namespace, planned: Namespace, step: float) -> None:
    if record.engine.progress == "none":
        return
    what = (
        f"{planned.epochs} of {record.epochs} epochs" if planned.steps is None else f"{planned.steps} steps, less than an epoch"
    )
    print(f"max-minutes {record.max_minutes:g}: a step takes {step:.2g} s, so {what} are planned", file=sys.stderr)
