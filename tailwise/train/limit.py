"""A bound on the time of a run: before training, a few steps are measured and the epochs planned that fit.

The plan becomes the recipe's own epochs, so the learning rate, the sampler and the objective come to their end in time, and a
resumed run follows the same plan. Where the machine turns out slower than measured, `tailwise.train.trainer` ends training.
"""

import math
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace

from tailwise import evaluate
from tailwise.data.loader import EvalLoader
from tailwise.task import Task
from tailwise.train import needs
from tailwise.train.engine import build_task, processes, training_data
from tailwise.train.optim import optimizer
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Recipe
from tailwise.train.rules import MEANS
from tailwise.train.run import MANIFEST, Run
from tailwise.types import Batch, TailwiseError

STEPS = 50
"""Steps that are measured at most after a first one; no further one where they have taken `SHARE` of the time."""
SHARE = 0.03
FEW = 2
"""Samples that whatever loads with the first step is loaded by."""
SLACK = 1.2
"""How much longer things take in the run than when measured: logging, a busier machine."""
FIXED, PER_EPOCH = 3.0, 0.03
"""Seconds of an idle processor: the start of the trainer, what judging imports and the last files; the end of an epoch."""
PAGE, MAPPED = 0.004, 1000
"""Seconds of an idle processor that a test image takes on the report's page, and for how many: t-SNE sees no more."""
WRITTEN = 2e8
"""Bytes of a checkpoint that are packed and written in a second."""
BUSY = 20.0
"""The most that a busy machine is taken to stretch those."""
SMALLER = ", a smaller --data.image_size ({} now) or a smaller --model.backbone ({} now)"
"""What helps where it is images that take the time."""


class Pace(NamedTuple):
    """How quick training and judging are on this machine, as busy as it is; seconds, but for ``steps`` and ``busy``."""

    step: float  # one training step
    steps: int  # in an epoch
    read: float  # an image's file, by one process
    seen: float  # an image by the finished model
    looked: float  # an image by the model between epochs, in the precision of training
    end: float  # of an epoch: its checkpoint, and workers that start anew
    busy: float  # a second of an idle processor


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
    pace = measure(recipe, prepared, SHARE * 60 * record.max_minutes)
    look, judging = _judging(recipe, prepared, pace)
    fixed = pace.busy * (FIXED + PAGE * min(len(prepared.test.labels), MAPPED))
    reserve = fixed + look + judging
    left = 60 * record.max_minutes - (time.monotonic() - started) - reserve  # in which the look after the last step lies
    step, look = SLACK * pace.step, look / record.engine.check_every
    epoch = step * pace.steps + pace.end
    if left < step + pace.end:
        raise _too_short(record, step + pace.end - left, SMALLER if reserve - fixed + step > fixed else "")
    asked, planned = record.epochs, record.clone()
    planned.epochs = min(asked, max(int((left + look) / (epoch + look)), 1))
    if left < epoch:
        planned.steps = min(max(int((left - pace.end) / step), 1), pace.steps)
    _rescale(planned, planned.epochs / asked)
    _say(record, planned, pace.step)
    return planned, {
        "minutes": record.max_minutes,
        "asked_epochs": asked,
        "planned_epochs": planned.epochs,
        "planned_steps": planned.steps,
        "reserved_seconds": round(reserve, 1),
    }


def _judging(recipe: Recipe, prepared: Prepared, pace: Pace) -> tuple[float, float]:
    """Seconds of one look between epochs, and of all that reads images after the last, or before the first epoch."""
    shared, looked_at = pace.read / max(recipe.engine.workers, 1), len(prepared.checked.labels)
    judged = len(prepared.test.labels) + len(prepared.train.labels)  # the training images for the gap
    alone = looked_at * (1 + recipe.post_hoc.reads_validation) if prepared.checked_name == "val" else 0  # to calibrate
    alone += min(max(MEANS, len(prepared.names)), len(prepared.train.labels)) * (recipe.model.head == "class_means")
    look = (pace.looked + shared) * looked_at
    return SLACK * look, SLACK * ((pace.seen + shared) * judged + (pace.seen + pace.read) * alone)


def _too_short(record: Namespace, missing: float, advice: str) -> TailwiseError:
    """What to say where so many seconds are ``missing`` for a single step."""
    least = math.ceil(10 * (record.max_minutes + missing / 60)) / 10
    return TailwiseError(
        f"max_minutes {record.max_minutes:g}: reading the data, one step and judging take about {least:.1f} minutes here; "
        f"give more{advice.format(record.data.image_size, record.model.backbone)}"
    )


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


def measure(recipe: Recipe, prepared: Prepared, patience: float) -> Pace:
    """The `Pace` of a task that is thrown away; takes ``patience`` in seconds, or longer where a single step does."""
    task = build_task(replace(recipe, model=replace(recipe.model, head="random")), prepared)  # the rows are not timed
    device, workers = _device(recipe.engine.accelerator), recipe.engine.workers
    task = task.to(device).train()
    task.on_epoch(0, recipe.epochs)
    loader = training_data(recipe, prepared, task.objective.views, device)
    steps = max(len(loader) // processes(recipe.engine), 1)
    moves = optimizer(task, **vars(recipe.optim))
    mixed = torch.bfloat16 if "bf16" in str(recipe.engine.precision) else torch.float16
    half = torch.autocast(device.type, mixed, enabled="mixed" in str(recipe.engine.precision))
    _learn(task, moves, _first(loader.batch(0), FEW), half)
    reads, learns = list[float](), list[float]()
    begun, computed = time.monotonic(), 0.0
    while len(learns) <= STEPS and (not learns or time.monotonic() - begun < patience):
        start = time.monotonic()
        batch = loader.batch(len(learns))
        reads.append(time.monotonic() - start)
        start, used = time.monotonic(), time.thread_time()
        _learn(task, moves, batch, half)
        learns.append(time.monotonic() - start)
        computed += time.thread_time() - used  # of the thread that waits for all others: the stretch of what it does alone
    busy = min(max(sum(learns) / max(computed, 1e-3), 1.0), BUSY)
    read, learn = (sum(taken[1:] or taken) / max(len(taken) - 1, 1) for taken in (reads, learns))
    kept = [*task.state_dict().values(), *(v for state in moves.state.values() for v in state.values())]
    size = sum(value.numel() * value.element_size() for value in kept if isinstance(value, torch.Tensor))
    return Pace(
        max(read / workers, learn) if workers else read + learn,
        steps,
        *_seen(task.model, recipe, prepared, half),
        end=busy * PER_EPOCH + size / WRITTEN + read * (workers > 0),
        busy=busy,
    )


def _learn(task: Task, moves: torch.optim.Optimizer, batch: Batch, half: torch.autocast) -> None:
    device = next(task.parameters()).device
    with half:
        loss = torch.stack(list(task(Batch._make(part.to(device) for part in batch)).values())).sum()
    moves.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    moves.step()
    task.on_step()
    float(loss.detach())  # waits for a GPU


def _seen(model: torch.nn.Module, recipe: Recipe, prepared: Prepared, half: torch.autocast) -> tuple[float, float, float]:
    """Seconds that reading a test image takes, the model's answer, and its answer in the precision of training."""
    model = model.to("cuda" if torch.cuda.is_available() and recipe.engine.accelerator != "cpu" else "cpu")
    images, at_once = len(prepared.test.labels), min(prepared.check_batch, recipe.batch_size or 1)
    some = min(images, max(2 * FEW, at_once))
    spread = torch.linspace(0, images - 1, some).long()  # over all classes and sizes
    loader = EvalLoader(prepared.test.subset(spread), prepared.plain(), batch_size=at_once)
    start = time.monotonic()
    batches = list(loader)
    taken = [time.monotonic() - start]
    for context in (nullcontext(), half):
        with context:
            evaluate.predictions(model, [_first(batches[0], FEW)])  # the first time is the slow one
            start = time.monotonic()
            evaluate.predictions(model, batches)
        taken.append(time.monotonic() - start)
    read, seen, looked = (seconds / some for seconds in taken)
    return read, seen, looked


def _first(batch: Batch, samples: int) -> Batch:
    return Batch(batch.views[:, :samples], batch.labels[:samples], batch.index[:samples], batch.key[:samples])


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
