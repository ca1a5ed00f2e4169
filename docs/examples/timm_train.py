"""Our objective as a task of timm, which is what timm's train.py trains; here ProCo, on long-tailed digits.

The script is no part of timm's package. So a short loop of timm's optimizer, scheduler and averaged weights stands in for it.
"""

from typing import Any

import timm
import torch
from digits import PER_CLASS, Views, judge, load, options
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.task import TrainingTask
from timm.utils import unwrap_model
from torch import Tensor, nn
from torch.utils.data import DataLoader

import tailwise
from tailwise import losses, rng

EPOCHS = 10


class TimmModel(nn.Module):
    """A network of timm that ends in a linear classifier, as a `tailwise.Model`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.dim, self.classes = net, net.head_hidden_size, net.num_classes

    def forward(self, views: Tensor) -> tailwise.Output:
        features = self.net.forward_head(self.net.forward_features(views.flatten(0, 1)), pre_logits=True)
        features, head = features.unflatten(0, views.shape[:2]), self.net.get_classifier()
        return tailwise.Output(head(features), features, head.weight)


class LongTailed(TrainingTask):
    """In the place of timm's ClassificationTask. Images (V·B, 3, H, W) come view by view, as ``--aug-splits V`` makes them.

    Nobody says here which sample is which, so this is for objectives without a queue.
    """

    def __init__(self, net: nn.Module, make: type[tailwise.Objective], counts: Any, **options: Any) -> None:
        super().__init__(**options)
        self.trainable_module = tailwise.Task(model := TimmModel(net), make(counts, model))

    def forward(self, input: Tensor, target: Tensor) -> dict[str, Tensor]:
        views = input.unflatten(0, (unwrap_model(self.trainable_module).objective.views, -1))
        index = torch.arange(views.shape[1], device=input.device)
        batch = tailwise.Batch(views, target[: len(index)], index, rng.mix(torch.randint(2**62, ()), index))
        terms = self.trainable_module(batch)
        return {"loss": sum(terms.values()), **terms}

    def prepare_distributed(self, device_ids: list[int] | None = None, **given: Any) -> TrainingTask:
        given["broadcast_buffers"] = False  # what an objective remembers are buffers, the same on all processes
        self.trainable_module = nn.parallel.DistributedDataParallel(self.trainable_module, device_ids=device_ids, **given)
        return self

    def get_eval_model(self, module: nn.Module | None = None, ema: bool = False) -> nn.Module:
        return unwrap_model(module or self.get_trainable_module(ema=ema)).model.net  # what timm validates and saves

    def get_task_state(self, module: nn.Module | None = None, ema: bool = False) -> dict[str, Tensor]:
        return unwrap_model(module or self.get_trainable_module(ema=ema)).objective.state_dict()

    def load_task_state(self, state: Any, strict: bool = True, module: nn.Module | None = None, ema: bool = False) -> None:
        unwrap_model(module or self.get_trainable_module(ema=ema)).objective.load_state_dict(state, strict)


def collate(samples: list[dict[str, Any]]) -> tuple[Tensor, Tensor]:
    """As timm's loader does: views one after the other, labels repeated."""
    views = torch.stack([sample["views"] for sample in samples], dim=1)
    return views.flatten(0, 1), torch.tensor([sample["labels"] for sample in samples]).repeat(len(views))


def main(epochs: int = EPOCHS) -> tuple[LongTailed, dict[str, Any]]:
    torch.manual_seed(0)
    images, labels, test_images, test_labels = load(enlarge=4)
    task = LongTailed(timm.create_model("test_resnet", num_classes=10, in_chans=1), losses.ProCo, PER_CLASS)
    loader = DataLoader(Views(images, labels, views=3), 32, shuffle=True, drop_last=True, collate_fn=collate)

    optimizer = create_optimizer_v2(task.get_trainable_module(), opt="adamw", lr=5e-3, weight_decay=0.05)
    scheduler, _ = create_scheduler_v2(optimizer, num_epochs=epochs, updates_per_epoch=len(loader), step_on_epochs=False)
    task.setup_ema(decay=0.9)
    for epoch in range(epochs):
        task.train()
        unwrap_model(task.trainable_module).on_epoch(epoch, epochs)  # add this line to train.py
        for step, (batch, target) in enumerate(loader, start=epoch * len(loader) + 1):
            loss = task(batch, target)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            unwrap_model(task.trainable_module).on_step()  # and this one
            task.update_ema(step)
            scheduler.step_update(num_updates=step)
    averaged = TimmModel(task.get_eval_model(ema=True))
    figures = judge(averaged, test_images, test_labels, torch.tensor(PER_CLASS))
    print(figures)
    return task, figures


if __name__ == "__main__":
    main(options(EPOCHS).epochs)
