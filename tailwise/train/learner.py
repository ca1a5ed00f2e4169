"""The whole trainer, for every method: Lightning around `Task`, without a branch on the method."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from tailwise.data.loader import EvalLoader, TrainLoader
from tailwise.distributed import global_sum
from tailwise.task import Task
from tailwise.train.optim import Schedule
from tailwise.train.terms import LOG_EVERY, Terms
from tailwise.types import Batch


class Learner(LightningModule):
    """Steps a task. Between epochs ``look`` turns the ``tally`` of a split into figures: they are logged, never selected on."""

    def __init__(
        self,
        task: Task,
        loader: Callable[[torch.device], TrainLoader],
        checked: Callable[[], EvalLoader],
        optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer],
        schedule: Schedule,
        tally: Callable[[Tensor, Tensor], Tensor],
        look: Callable[[Tensor], Mapping[str, Tensor]],
    ) -> None:
        super().__init__()
        self.task, self.loader, self.checked, self.optimizer, self.schedule = task, loader, checked, optimizer, schedule
        self.tally, self.look = tally, look
        self.terms = Terms()
        self.tallies: list[Tensor] = []

    def configure_optimizers(self) -> Any:
        optimizer, epochs = self.optimizer(self.task), self.trainer.max_epochs or 1
        steps = int(self.trainer.estimated_stepping_batches) // epochs
        moving = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule(step / steps, epochs))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": moving, "interval": "step"}}

    def train_dataloader(self) -> TrainLoader:
        return self.loader(self.device)  # made in each process, where rank and device are known

    def val_dataloader(self) -> EvalLoader:
        return self.checked()

    def on_train_start(self) -> None:
        loader = cast(TrainLoader, self.trainer.train_dataloader)
        loader.seek(self.global_step)  # the cursor follows steps taken, not batches handed out
        self.on_train_epoch_start()  # a resume inside an epoch never calls it

    def on_train_epoch_start(self) -> None:
        self.task.on_epoch(self.current_epoch, self.trainer.max_epochs or 1)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        loss = self.terms.add(self.task(batch), f"step {self.global_step} (epoch {self.current_epoch})")
        if (self.global_step + 1) % LOG_EVERY == 0:
            self.log_dict(self.terms.last(), prog_bar=True, sync_dist=True)  # the mean over ranks is that of the whole batch
        if self.trainer.is_last_batch:  # before the epoch is looked at and saved
            self.log_dict(self.terms.means(), prog_bar=True, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.task.on_step()

    def validation_step(self, batch: Batch, _: int) -> None:
        tally = self.tally(self.task.model(batch.views[:1]).at_labels(), batch.labels)
        self.tallies.append(tally * (batch.index[0] >= 0))  # a process without a sample has another's, and counts none

    def on_validation_epoch_end(self) -> None:
        self.log_dict(dict(self.look(global_sum(torch.stack(self.tallies).sum(0)).cpu())), prog_bar=True)
        self.tallies.clear()
