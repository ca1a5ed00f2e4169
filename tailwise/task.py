"""`Task`: a model and its objective, the one trainable thing that every engine and door uses."""

import warnings

import torch
from torch import Tensor, nn

from tailwise.losses.objective import Objective
from tailwise.types import Batch, TailwiseError

PATIENCE = 50
"""Training steps without a hook that the objective has something to do in, after which a warning says so."""


class Task(nn.Module):
    """Calls the model on the objective's student views and the objective on what comes out.

    ``Task(model, objective)(batch)`` gives the named terms; their sum is the loss. An engine steps every parameter of
    the task (heads and temperatures are the objective's), calls `on_epoch` before an epoch and `on_step` after each
    optimizer step, and saves ``state_dict()``. What is deployed is ``task.model``.

    Raises `TailwiseError` for a batch that does not fit the objective, and warns once of hooks that nobody calls.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        if not isinstance(objective, Objective):
            raise TailwiseError(f"Task: {type(objective).__name__} is no tailwise.Objective; give Task(model, objective)")
        self.model = model
        self.objective = objective
        kind = type(objective)
        hooks = ("on_epoch", kind.on_epoch, Objective.on_epoch), ("on_step", kind.on_step, Objective.on_step)
        self._awaited = {name for name, its, nothing in hooks if its is not nothing}
        self._steps = 0

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named, weighted terms (scalars)."""
        if not torch.compiler.is_compiling() and self._awaited and self.training:
            self._count()
        batch = self.objective.admit(batch)
        return self.objective.terms(self.model(batch.views[list(self.objective.student_views)]), batch)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Before epoch ``epoch`` of ``epochs``, counted from 0; calling it twice changes nothing."""
        self._awaited.discard("on_epoch")
        self.objective.on_epoch(epoch, epochs)

    def on_step(self) -> None:
        """After the optimizer's step."""
        self._awaited.discard("on_step")
        self.objective.on_step(self.model)

    def _count(self) -> None:
        self._steps += 1
        if self._steps > PATIENCE:
            calls = {"on_epoch": "task.on_epoch(epoch, epochs) before each epoch", "on_step": "task.on_step() after each step"}
            missed, name = " and ".join(calls[hook] for hook in sorted(self._awaited)), type(self.objective).__name__
            self._awaited.clear()
            warnings.warn(f"{name}: {PATIENCE} training steps without its hooks; call {missed}", stacklevel=2)
