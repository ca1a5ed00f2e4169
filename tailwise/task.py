"""`Task`: a model and its objective, the one trainable thing that every engine and door uses."""

from torch import Tensor, nn

from tailwise.losses.objective import Objective
from tailwise.types import Batch


class Task(nn.Module):
    """Calls the model on the objective's student views and the objective on what comes out.

    ``Task(model, objective)(batch)`` gives the named terms; their sum is the loss. An engine steps every parameter of
    the task (heads and temperatures are the objective's), calls `on_epoch` before an epoch and `on_step` after each
    optimizer step, and saves ``state_dict()``. What is deployed is ``task.model``.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named, weighted terms (scalars)."""
        out = self.model(batch.views[list(self.objective.student_views)])
        terms: dict[str, Tensor] = self.objective(out, batch)
        return terms

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Before epoch ``epoch`` of ``epochs``, counted from 0; calling it twice changes nothing."""
        self.objective.on_epoch(epoch, epochs)

    def on_step(self) -> None:
        """After the optimizer's step."""
        self.objective.on_step(self.model)
