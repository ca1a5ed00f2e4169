"""Schedules against values worked out by hand, and which parameters are decayed."""

import math

import pytest
import torch
from tiny import Images
from torch import nn

from tailwise.losses import GML
from tailwise.task import Task
from tailwise.teacher import Frozen
from tailwise.train.optim import Cosine, Schedule, Steps, sgd

STEPS = 4  # per epoch, below


@pytest.mark.parametrize(
    ("schedule", "epoch", "epochs", "expected"),
    [
        (Cosine(), 0.0, 10, 1.0),
        (Cosine(), 5.0, 10, 0.5),
        (Cosine(), 9.75, 10, 0.5 * (1 + math.cos(math.pi * 0.975))),  # the last step of four a epoch
        (Cosine(), 10.0, 10, 0.0),
        (Cosine(warmup=2), 0.0, 10, 0.0),
        (Cosine(warmup=2), 0.25, 10, 0.125),
        (Cosine(warmup=2), 1.75, 10, 0.875),  # the last step of the warm-up
        (Cosine(warmup=2), 2.0, 10, 1.0),  # the first after it
        (Cosine(warmup=2), 6.0, 10, 0.5),
        (Cosine(warmup=2), 9.75, 10, 0.5 * (1 + math.cos(math.pi * 7.75 / 8))),
        (Cosine(warmup=10), 9.75, 10, 0.975),  # nothing is left after the warm-up
        (Steps(), 0.0, 200, 0.2),
        (Steps(), 0.99, 200, 0.2),  # constant within an epoch
        (Steps(), 4.0, 200, 1.0),  # the last epoch of the warm-up has the peak
        (Steps(), 5.0, 200, 1.0),
        (Steps(), 159.99, 200, 1.0),
        (Steps(), 160.0, 200, 0.1),
        (Steps(), 179.99, 200, 0.1),
        (Steps(), 180.0, 200, 0.01),
        (Steps(), 199.99, 200, 0.01),
        (Steps(warmup=0, milestones=(2,), gamma=0.5), 0.0, 4, 1.0),
        (Steps(warmup=0, milestones=(2,), gamma=0.5), 2.0, 4, 0.5),
        (Steps(warmup=3, milestones=(1,)), 1.0, 4, 2 / 3),  # the warm-up comes first
    ],
)
def test_the_multiplier_is_that_of_a_hand_calculation(schedule: Schedule, epoch: float, epochs: int, expected: float) -> None:
    assert schedule(epoch, epochs) == pytest.approx(expected, abs=1e-12)


def test_cosine_falls_at_every_step_after_the_warm_up() -> None:
    values = [Cosine(warmup=2)(step / STEPS, 6) for step in range(6 * STEPS)]
    peak = 2 * STEPS
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    assert max(values) == values[peak] == 1.0


def test_sgd_takes_its_options_and_leaves_no_empty_group() -> None:
    optimizer = sgd(nn.Linear(3, 2, bias=False), lr=0.3, momentum=0.8, nesterov=True, weight_decay=0.01)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.3, 0.8, True, 0.01)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_fused_steps_are_those_of_the_equation(nesterov: bool) -> None:
    """v ← μ v + g + λ w; w ← w − η (g + λ w + μ v with Nesterov, else v), on parameters of any memory format."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5))
    module.to(memory_format=torch.channels_last)
    optimizer = sgd(module, lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01)
    assert all(group["fused"] for group in optimizer.param_groups)
    by_hand = [p.detach().double().clone() for p in module.parameters()]
    speed = [torch.zeros_like(w) for w in by_hand]
    for _ in range(3):
        optimizer.zero_grad()
        (module(torch.randn(6, 3, 3, 3)).sin().sum() + module[0].weight.movedim(0, 1).contiguous().cos().sum()).backward()
        for p, w, v in zip(module.parameters(), by_hand, speed, strict=True):
            assert p.grad is not None
            g = p.grad.double() + (0.01 * w if p.ndim >= 2 else 0)
            v.mul_(0.9).add_(g)
            w.sub_(0.1 * (g + 0.9 * v if nesterov else v))
        optimizer.step()
    for p, w in zip(module.parameters(), by_hand, strict=True):
        torch.testing.assert_close(p.detach().double(), w, rtol=1e-5, atol=1e-6)


def test_other_devices_are_left_to_torch() -> None:
    optimizer = sgd(nn.Linear(3, 2, device="meta"), lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)
    assert [group["fused"] for group in optimizer.param_groups] == [None, None]


def test_biases_norms_and_temperatures_are_not_decayed_and_a_frozen_teacher_is_not_stepped() -> None:
    class Normed(Images):
        def __init__(self, classes: int) -> None:
            super().__init__(classes)
            self.norm = nn.BatchNorm2d(3)

    teacher = Frozen(Normed(3))
    model = Normed(3)
    task = Task(model, GML([5, 3, 2], model, teacher=teacher, queue_size=6))
    optimizer = sgd(task, lr=0.1, momentum=0.9, nesterov=False, weight_decay=5e-4)
    names = {id(p): name for name, p in task.named_parameters()}
    decayed, free = ([names[id(p)] for p in group["params"]] for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 0.0]
    trained = [name for name, p in task.named_parameters() if p.requires_grad]
    assert sorted(decayed + free) == sorted(trained)  # each once
    assert not any(name.startswith("objective.teacher") for name in decayed + free)
    assert sum(name.startswith("objective.teacher") for name in names.values()) > 0
    assert {"model.backbone.bias", "model.norm.weight", "model.norm.bias", "objective.log_temperature"} <= set(free)
    assert {"model.backbone.weight", "model.head.weight"} <= set(decayed)
    assert all("bias" not in name for name in decayed)


def test_decay_acts_on_weights_alone() -> None:
    module = nn.Linear(2, 2)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    optimizer = sgd(module, lr=0.5, momentum=0.0, nesterov=False, weight_decay=0.1)
    for value in module.parameters():
        value.grad = torch.zeros_like(value)
    optimizer.step()
    torch.testing.assert_close(module.weight.detach(), before["weight"] * (1 - 0.5 * 0.1))
    torch.testing.assert_close(module.bias.detach(), before["bias"])
