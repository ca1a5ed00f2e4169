"""The protocol of a training objective, and what every objective shares."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from tailwise.counts import Counts, as_counts, log_prior, with_aliases
from tailwise.types import Batch, Model, Output, TailwiseError

P = ParamSpec("P")
R = TypeVar("R")


class Objective(nn.Module):
    """What training minimises: named terms from a model's `Output` and the `Batch`; the loss is their sum.

    Heads, queues, teachers and temperatures live here and are thrown away after training. State is parameters, buffers
    and submodules only, and moves in `forward` only while training, and in the two hooks. Subclasses pass ``counts`` and
    ``model`` on, read ``model.dim`` and never keep the model.
    """

    views: int = 1
    """How many views the data must supply."""
    student_views: Sequence[int] = (0,)
    """Which of them the trained model sees; the first is the one whose logits are deployed."""
    classifier: str = "linear"
    """The classifier that it is made for, linear or cosine; a recipe may say otherwise."""
    counts: Tensor
    log_prior: Tensor

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        if "__init__" in vars(cls):  # class_counts= and cls_num_list= are what other libraries call the counts
            cls.__init__ = with_aliases(cls.__init__)  # type: ignore[method-assign]

    @with_aliases
    def __init__(self, counts: Counts, model: Model) -> None:
        super().__init__()
        self.register_buffer("counts", as_counts(counts))
        if self.counts.numel() != model.classes:
            raise TailwiseError(f"objective: {self.counts.numel()} class counts for a model of {model.classes} classes")
        self.register_buffer("log_prior", log_prior(self.counts).to(torch.get_default_dtype()))

    @property
    def carried_log_prior(self) -> Tensor:
        """(C,) the log prior that the deployed logits still carry; uniform (zero) for prior-corrected objectives."""
        return torch.zeros_like(self.log_prior)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """Named, weighted terms, each a scalar in the graph."""
        raise NotImplementedError

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Before epoch ``epoch`` of ``epochs`` (from 0), and once more on resume: must be idempotent."""

    def on_step(self, model: nn.Module) -> None:
        """After each optimizer step."""


def require(holds: bool, message: str) -> None:
    """Refuse an option that makes no sense, with `TailwiseError`."""
    if not holds:
        raise TailwiseError(message)


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a loss in float32 (or wider) whatever autocast says: half-precision tensor arguments are widened first."""

    def widen(value: Any) -> Any:
        narrow = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
        return value.float() if narrow else value

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        devices = {a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)} or {"cpu"}
        with torch.autocast(devices.pop(), enabled=False):
            return function(*map(widen, args), **{k: widen(v) for k, v in kwargs.items()})

    return call


def pointwise(out: Output, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (M, C), targets (M,) or (M, C), and weights (M,) of the first view, with all sample axes flattened.

    Labels below 0, such as IGNORE, get weight 0 and a harmless target. Pixels and images differ only in M.
    """
    logits = out.at_labels().flatten(0, -2)
    if batch.labels.is_floating_point():
        return logits, batch.labels.to(logits.dtype), logits.new_ones(logits.shape[0])
    labels = batch.labels.flatten()
    return logits, labels.clamp(min=0), (labels >= 0).to(logits.dtype)


def class_labels(batch: Batch, objective: str) -> Tensor:
    """The batch's labels, refused unless they are one class per sample."""
    if batch.labels.is_floating_point():
        raise TailwiseError(f"{objective}: takes one class per sample, not mixed (B, C) targets; switch the mixing off")
    return batch.labels
