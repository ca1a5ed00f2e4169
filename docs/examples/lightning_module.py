"""BCL in a LightningModule of your own: your loaders, your optimizer, Lightning's Trainer. On long-tailed digits."""

from typing import Any

import lightning
import torch
from digits import PER_CLASS, Views, collate, judge, load, options
from torch import Tensor, nn
from torch.utils.data import DataLoader

import tailwise
from tailwise.integrations.lightning import TaskModule

EPOCHS = 12


class Net(nn.Module):
    """A small convolutional network as a `tailwise.Model`."""

    dim, classes = 64, 10

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(64, 10)

    def forward(self, views: Tensor) -> tailwise.Output:
        features = self.body(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        return tailwise.Output(self.head(features), features, self.head.weight)


class Module(TaskModule):
    """Only what is ours: the optimizer and how its rate falls."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.task.parameters(), lr=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)]


def main(epochs: int = EPOCHS) -> dict[str, Any]:
    lightning.seed_everything(0, verbose=False)
    images, labels, test_images, test_labels = load()
    task = tailwise.Task(model := Net(), tailwise.BCL(PER_CLASS, model))
    training = DataLoader(Views(images, labels, task.objective.views), 32, shuffle=True, drop_last=True, collate_fn=collate)
    test = DataLoader(Views(test_images, test_labels), 256, collate_fn=collate)
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, check_val_every_n_epoch=epochs,
    )  # fmt: skip
    trainer.fit(Module(task), training, test)
    print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})
    return {"logged": trainer.callback_metrics, **judge(model, test_images, test_labels, torch.tensor(PER_CLASS))}


if __name__ == "__main__":
    main(options(EPOCHS).epochs)
