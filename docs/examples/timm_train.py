"""timm's training script around our objective: its model, optimizer, scheduler and averaged weights; LDAM-DRW on digits."""

from typing import Any

import timm
import torch
from digits import PER_CLASS, Views, collate, judge, load
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader

import tailwise
from tailwise import losses
from tailwise.models import Cosine

EPOCHS = 12


class TimmModel(nn.Module):
    """Any network of timm as a `tailwise.Model`, with the cosine classifier that LDAM is made for."""

    def __init__(self, name: str, classes: int, **options: Any) -> None:
        super().__init__()
        self.net = timm.create_model(name, num_classes=0, **options)
        self.dim, self.classes = self.net.num_features, classes
        self.head = Cosine(self.dim, classes)

    def forward(self, views: Tensor) -> tailwise.Output:
        features = self.net(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        return tailwise.Output(self.head(features), features, self.head.weight, self.head.scale)


def main() -> dict[str, Any]:
    torch.manual_seed(0)
    images, labels, test_images, test_labels = load(enlarge=4)
    model = TimmModel("test_resnet", 10, in_chans=1)
    task = tailwise.Task(model, losses.LDAM(PER_CLASS, model))
    loader = DataLoader(Views(images, labels, task.objective.views), 32, shuffle=True, drop_last=True, collate_fn=collate)

    optimizer = create_optimizer_v2(task, opt="adamw", lr=5e-3, weight_decay=0.05)
    scheduler, epochs = create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=EPOCHS, warmup_epochs=2, updates_per_epoch=len(loader), step_on_epochs=False
    )
    averaged = ModelEmaV3(model, decay=0.95)
    for epoch in range(epochs):
        task.train()
        task.on_epoch(epoch, epochs)  # deferred re-weighting begins at 0.8 of the epochs
        meter = AverageMeter()
        for step, batch in enumerate(loader, start=epoch * len(loader) + 1):
            loss = sum(task(batch).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            task.on_step()
            averaged.update(model, step=step)
            scheduler.step_update(num_updates=step)
            meter.update(loss.item(), len(batch.index))
        scheduler.step(epoch + 1)
        if (epoch + 1) % 4 == 0:
            print(f"epoch {epoch + 1}: loss {meter.avg:.3f}, lr {optimizer.param_groups[0]['lr']:.1e}")
    figures = judge(averaged.module, test_images, test_labels, torch.tensor(PER_CLASS))
    print(figures)
    return figures


if __name__ == "__main__":
    main()
