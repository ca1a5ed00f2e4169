"""The door to Lightning: a `Task` as a module for any `Trainer`, with your loaders and your optimizer."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from tailwise import metrics
from tailwise.task import Task
from tailwise.types import Batch


class TaskModule(LightningModule):
    """Trains a `Task` on loaders of `Batch`: subclass it and say ``configure_optimizers``, over ``self.task``.

    Logs each term as ``train_NAME``, and of validation ``val_balanced``, the mean recall of the classes that occur, and
    ``val_many``, ``val_medium``, ``val_few`` where the training data have such classes. Validation reads one view. On
    several devices give the Trainer ``DDPStrategy(forward_sync_buffers=False)``: a queue is a buffer of its own rank.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def on_train_start(self) -> None:
        """As before an epoch: a resume inside an epoch begins none."""
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Before an epoch."""
        self.task.on_epoch(self.current_epoch, self.trainer.max_epochs or 1)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The loss: the sum of the objective's terms."""
        terms = self.task(batch)
        self.log_dict({f"train_{name}": term for name, term in terms.items()}, batch_size=len(batch.index))
        return torch.stack(list(terms.values())).sum()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The step, and then what follows the model."""
        super().optimizer_step(*args, **kwargs)
        self.task.on_step()

    def on_validation_epoch_start(self) -> None:
        """Counting begins."""
        classes = self.task.objective.counts.numel()
        self.tally = torch.zeros(3, classes, dtype=torch.int64, device=self.device)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Adds to the tally of this process."""
        predictions = self.task.model(batch.views[:1]).at_labels().argmax(-1)
        self.tally += metrics.tally(predictions, batch.labels, self.tally.shape[1])

    def on_validation_epoch_end(self) -> None:
        """Logs the figures of all processes."""
        tally = self.trainer.strategy.reduce(self.tally, reduce_op="sum")
        found = metrics.summary(tally.cpu(), self.task.objective.counts.cpu())
        names = ("balanced", "many", "medium", "few")
        self.log_dict({f"val_{name}": found[name] for name in names if found[name] is not None}, prog_bar=True)
