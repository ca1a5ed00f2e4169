"""`Task`: the model sees the student's views, the objective sees the batch, hooks reach the objective."""

import torch
from tiny import Rows, batch
from torch import Tensor, nn

from tailwise.losses import GML, CrossEntropy, Objective
from tailwise.task import Task
from tailwise.types import Batch, Output


class Recording(Objective):
    """Keeps what it is given."""

    views, student_views = 3, (2, 0)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        self.seen = out, batch
        return {"a": out.logits.sum(), "b": out.features.sum()}

    def on_epoch(self, epoch: int, epochs: int) -> None:
        self.epoch = epoch, epochs

    def on_step(self, model: nn.Module) -> None:
        self.stepped = model


def test_views_and_terms() -> None:
    model = Rows(3)
    task = Task(model, Recording([3, 2, 1], model))
    given_batch = batch("rows", 3, torch.tensor([0, 1]))
    terms = task(given_batch)
    out, seen = task.objective.seen
    assert set(terms) == {"a", "b"}
    assert seen is given_batch
    torch.testing.assert_close(out.logits, model(given_batch.views).logits[[2, 0]])


def test_hooks() -> None:
    model = Rows(3)
    task = Task(model, Recording([3, 2, 1], model))
    task.on_epoch(4, 9)
    task.on_step()
    assert task.objective.epoch == (4, 9)
    assert task.objective.stepped is model


def test_everything_trainable_is_the_tasks() -> None:
    model = Rows(3)
    task = Task(model, GML([3, 2, 1], model, queue_size=16))
    names = {name for name, p in task.named_parameters() if p.requires_grad}
    assert "objective.log_temperature" in names
    assert any(name.startswith("objective.query_head") for name in names)
    assert {"model." + name for name, _ in model.named_parameters()} < names
    assert not any("teacher" in name for name in names)


def test_a_task_learns() -> None:
    torch.manual_seed(0)
    model = Rows(3)
    task, labels = Task(model, CrossEntropy([3, 3, 3], model)), torch.arange(3).repeat(3)
    given_batch = batch("rows", 1, labels)
    optimizer = torch.optim.SGD(task.parameters(), 0.5)
    losses = []
    for _ in range(60):
        loss = sum(task(given_batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        task.on_step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
