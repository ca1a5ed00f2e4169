"""tailwise: train, judge and ship recognisers on long-tailed data."""

from tailwise import losses, metrics
from tailwise.counts import as_counts
from tailwise.losses import BCL, ELM, GML, RCL, CrossEntropy, LogitAdjusted, Objective
from tailwise.priors import adjust
from tailwise.queue import ClassQueue
from tailwise.task import Task
from tailwise.teacher import Ema, Frozen
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


def __getattr__(name: str) -> object:
    """`fit`, `resume`, `bench` and `Run` load data and recipes only when asked for, and Lightning when a run begins."""
    if name in ("fit", "resume", "Run"):
        from tailwise import train

        return getattr(train, name)
    if name == "bench":
        from tailwise.train.bench import bench

        return bench
    raise AttributeError(f"module 'tailwise' has no attribute {name!r}")
