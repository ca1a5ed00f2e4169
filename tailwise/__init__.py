"""tailwise: train, judge and ship recognisers on long-tailed data."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tailwise import losses, metrics
    from tailwise.counts import as_counts
    from tailwise.losses import BCL, ELM, GML, RCL, CrossEntropy, LogitAdjusted, Objective
    from tailwise.priors import adjust
    from tailwise.queue import ClassQueue
    from tailwise.task import Task
    from tailwise.teacher import Ema, Frozen
    from tailwise.train.bench import bench
    from tailwise.train.fit import fit, resume
    from tailwise.train.run import Run
    from tailwise.types import IGNORE, Batch, Model, Output, TailwiseError

__all__ = [
    "BCL",
    "ELM",
    "GML",
    "IGNORE",
    "RCL",
    "Batch",
    "ClassQueue",
    "CrossEntropy",
    "Ema",
    "Frozen",
    "LogitAdjusted",
    "Model",
    "Objective",
    "Output",
    "Run",
    "TailwiseError",
    "Task",
    "adjust",
    "as_counts",
    "bench",
    "fit",
    "losses",
    "metrics",
    "resume",
]


_FROM = {
    **dict.fromkeys(("BCL", "ELM", "GML", "RCL", "CrossEntropy", "LogitAdjusted", "Objective"), "losses"),
    **dict.fromkeys(("IGNORE", "Batch", "Model", "Output"), "types"),
    **dict.fromkeys(("Ema", "Frozen"), "teacher"),
    **dict.fromkeys(("Run", "fit", "resume"), "train"),
    "ClassQueue": "queue",
    "TailwiseError": "errors",
    "Task": "task",
    "adjust": "priors",
    "as_counts": "counts",
    "bench": "train.bench",
}
"""Where the names are; they are loaded when asked for, so that what needs no torch, such as --help, does not wait for it."""


def __getattr__(name: str) -> object:
    if name in ("losses", "metrics"):
        return import_module(f"tailwise.{name}")
    if name in _FROM:
        return getattr(import_module(f"tailwise.{_FROM[name]}"), name)
    raise AttributeError(f"module 'tailwise' has no attribute {name!r}")
