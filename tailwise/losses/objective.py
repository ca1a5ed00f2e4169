"""The protocol of a training objective, and what every objective shares."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from tailwise.counts import Counts, as_counts, log_prior
from tailwise.losses.door import admit, check_labels, check_model, check_output
from tailwise.losses.options import with_options
from tailwise.losses.tables import Tables
from tailwise.types import Batch, Model, Output, TailwiseError

P = ParamSpec("P")
R = TypeVar("R")


class Objective(Tables):
    """What training minimises: named terms from a model's `Output` and the `Batch`; the loss is their sum.

    Heads, queues, teachers and temperatures live here and are thrown away after training. State is parameters, buffers and
    submodules, and moves in `forward` only while training, and in the two hooks. Subclasses pass ``counts``, in any form of
    `as_counts`, and ``model`` on, and never keep it. A batch or an output that do not fit raise `TailwiseError`, see `door`.
    """

    views: int = 1
    """How many views the data must supply."""
    student_views: Sequence[int] = (0,)
    """Which of them the trained model sees; the first is the one whose logits are deployed."""
    classifier: str = "linear"
    """The classifier that it is made for, linear or cosine; a recipe may say otherwise."""
    mixed: bool = True
    """Whether labels may also be targets (B, C), floats; otherwise they are refused before `forward`."""
    counts: Tensor
    log_prior: Tensor

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        if "__init__" in vars(cls):
            cls.__init__ = with_options(cls.__init__)  # type: ignore[method-assign]

    @with_options
    def __init__(self, counts: Counts, model: Model) -> None:
        super().__init__()
        name = type(self).__name__
        check_model(model, name)
        self.register_buffer("counts", as_counts(counts))
        self.dim, self.classes = model.dim, model.classes
        said = f"{self.counts.numel()} class counts for a model of {self.classes} classes; a label vector is counted by"
        require(self.counts.numel() == self.classes, f"{name}: {said} counts.from_labels(labels, {self.classes})")
        require(bool(self.counts.any()), f"{name}: no class has a training sample; give what the training data have")
        self.register_buffer("log_prior", log_prior(self.counts).to(torch.get_default_dtype()))
        self._looked = False

    @property
    def carried_log_prior(self) -> Tensor:
        """(C,) the log prior that the deployed logits still carry; uniform (zero) for prior-corrected objectives."""
        return torch.zeros_like(self.log_prior)

    def admit(self, batch: Batch) -> Batch:
        """The batch, its integers as int64; `TailwiseError` where shapes, types or devices cannot be right."""
        return admit(batch, type(self).__name__, self.views, self.classes, self.mixed)

    def __call__(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """`forward` of what fits."""
        return self.terms(out, self.admit(batch))

    def terms(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """The same of a batch that was admitted."""
        name = type(self).__name__
        check_output(out, batch, name, len(self.student_views), self.classes, self.dim)
        if not torch.compiler.is_compiling() and (not self._looked or batch.labels.device.type == "cpu"):
            check_labels(batch.labels, name, self.classes)
            self._looked = True
        return super().__call__(out, batch)  # type: ignore[no-any-return]

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
        return value.float() if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16) else value

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        devices = {a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)} or {"cpu"}
        with torch.autocast(devices.pop(), enabled=False):
            return function(*map(widen, args), **{k: widen(v) for k, v in kwargs.items()})

    return call


def pointwise(out: Output, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (M, C), targets (M,) or (M, C), and weights (M,) of the first view, with all sample axes flattened.

    IGNORE gets weight 0 and a harmless target. Pixels and images differ only in M.
    """
    logits = out.at_labels().flatten(0, -2)
    if batch.labels.is_floating_point():
        return logits, batch.labels.to(logits.dtype), logits.new_ones(logits.shape[0])
    labels = batch.labels.flatten()
    return logits, labels.clamp(min=0), (labels >= 0).to(logits.dtype)
