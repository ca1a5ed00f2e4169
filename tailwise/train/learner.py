"""The whole trainer, for every method: Lightning around `Task`, without a branch on the method."""

from collections.abc import Callable
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from tailwise import metrics
from tailwise.data.loader import TrainLoader
from tailwise.task import Task
from tailwise.train.optim import Schedule
from tailwise.types import Batch, TailwiseError


class Learner(LightningModule):
    """Steps a task. ``judged`` names the split that is looked at between epochs: it is logged, never selected on."""

    confusion: Tensor

    def __init__(
        self,
        task: Task,
        loader: Callable[[], TrainLoader],
        optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer],
        schedule: Schedule,
        judged: str,
    ) -> None:
        super().__init__()
        self.task, self.loader, self.optimizer, self.schedule, self.judged = task, loader, optimizer, schedule, judged
        classes = task.objective.counts.numel()
        self.register_buffer("confusion", torch.zeros(classes, classes, dtype=torch.int64), persistent=False)

    def configure_optimizers(self) -> Any:
        optimizer, epochs = self.optimizer(self.task), self.trainer.max_epochs or 1
        steps = int(self.trainer.estimated_stepping_batches) // epochs
        moving = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule(step / steps, epochs))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": moving, "interval": "step"}}

    def train_dataloader(self) -> TrainLoader:
        return self.loader()  # made in each process, where the rank is known

    def on_train_start(self) -> None:
        loader = cast(TrainLoader, self.trainer.train_dataloader)
        loader.seek(self.global_step)  # the cursor follows steps taken, not batches handed out
        self.on_train_epoch_start()  # a resume inside an epoch never calls it

    def on_train_epoch_start(self) -> None:
        self.task.on_epoch(self.current_epoch, self.trainer.max_epochs or 1)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        terms = self.task(batch)
        values = torch.stack(list(terms.values()))
        if bad := [name for name, good in zip(terms, values.isfinite().tolist(), strict=True) if not good]:
            where = f"step {self.global_step} (epoch {self.current_epoch})"
            raise TailwiseError(f"training: term {bad[0]!r} is not finite at {where}; lower optim.lr, or resume from last.ckpt")
        loss = values.sum()
        shown = {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}
        self.log_dict(shown, prog_bar=True, on_step=True, on_epoch=True, batch_size=batch.index.numel())
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.task.on_step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if bad := [name for name, value in self.task.named_parameters() if not bool(value.isfinite().all())]:
            raise TailwiseError(f"training: {bad[0]} is not finite after step {self.global_step}, not saved; lower optim.lr")

    def validation_step(self, batch: Batch, _: int) -> None:
        predictions = self.task.model(batch.views[:1]).logits[0].argmax(-1)
        self.confusion += metrics.confusion(predictions, batch.labels, len(self.confusion))

    def on_validation_epoch_end(self) -> None:
        recalls = metrics.recalls(self.confusion)
        self.log(f"{self.judged}_balanced", recalls.nanmean().float(), prog_bar=True)
        self.confusion.zero_()
