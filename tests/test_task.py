"""`Task`: the model sees the student's views, the objective sees the batch, hooks reach the objective."""

import re
import warnings

import pytest
import torch
from tiny import Rows, batch
from torch import Tensor, nn

from tailwise.losses import GML, CrossEntropy, Objective
from tailwise.task import PATIENCE, Task
from tailwise.types import Batch, Output, TailwiseError


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


@pytest.mark.parametrize(
    ("called", "missed"),
    [
        ((), r"call task.on_epoch\(epoch, epochs\) before each epoch and task.on_step\(\) after each step"),
        (("on_step",), r"call task.on_epoch\(epoch, epochs\) before each epoch$"),
        (("on_epoch",), r"call task.on_step\(\) after each step$"),
        (("on_epoch", "on_step"), None),
    ],
)
def test_hooks_that_nobody_calls_are_missed_once(called: tuple[str, ...], missed: str | None) -> None:
    model = Rows(3)
    task = Task(model, Recording([3, 2, 1], model))
    given_batch = batch("rows", 3, torch.tensor([0, 1]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if "on_epoch" in called:
            task.on_epoch(0, 1)
        task.eval()
        for _ in range(2 * PATIENCE):
            task(given_batch)
        assert told == []
        task.train()
        for _ in range(2 * PATIENCE):
            task(given_batch)
            if "on_step" in called:
                task.on_step()
    assert len(told) == (missed is not None)
    assert missed is None or re.search(
        f"^Recording: {PATIENCE} training steps without its hooks; {missed}", str(told[0].message)
    )


def test_an_objective_without_hooks_misses_none() -> None:
    model = Rows(3)
    task, given_batch = Task(model, CrossEntropy([3, 2, 1], model)), batch("rows", 1, torch.tensor([0, 1]))
    for _ in range(2 * PATIENCE):  # a warning would be an error
        task(given_batch)


def test_model_and_objective_in_the_wrong_order_are_refused() -> None:
    model = Rows(3)
    with pytest.raises(TailwiseError, match=r"Task: Rows is no tailwise.Objective; give Task\(model, objective\)"):
        Task(CrossEntropy([3, 2, 1], model), model)


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
