"""Teachers: frozen ones never move, averaged ones move by the formula, neither ever trains."""

import pytest
import torch
from tiny import DIM, Rows
from torch import Tensor, nn

from tailwise.teacher import Ema, Frozen, Teacher
from tailwise.types import Output


class Normed(Rows):
    """A tiny model with batch statistics."""

    def __init__(self) -> None:
        super().__init__(3)
        self.norm = nn.BatchNorm1d(DIM)

    def forward(self, views: Tensor) -> Output:
        features = self.norm(self.backbone(views).flatten(0, 1)).unflatten(0, views.shape[:2])
        return Output(self.head(features), features, self.head.weight)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


@pytest.mark.parametrize("kind", [Frozen, Ema])
def test_training_does_not_move_a_teacher(kind: type[Teacher]) -> None:
    teacher = kind(Normed())
    before = state(teacher)
    holder = nn.ModuleDict({"teacher": teacher}).train()
    out = teacher(torch.randn(2, 4, 5))
    assert not any(module.training for module in holder["teacher"].modules())
    torch.testing.assert_close(state(teacher), before, rtol=0, atol=0)
    assert not out.features.requires_grad
    assert not out.logits.requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())
    assert teacher.dim == DIM


def test_frozen_stays_where_it_is() -> None:
    teacher = Frozen(Normed())
    before = state(teacher)
    teacher.follow(Normed())
    torch.testing.assert_close(state(teacher), before, rtol=0, atol=0)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_ema_moves_by_the_formula(momentum: float) -> None:
    model = Normed().double()
    teacher = Ema(model, momentum)
    expected = {k: v.clone() for k, v in model.named_parameters()}
    for _ in range(3):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        model(torch.randn(2, 4, 5, dtype=torch.float64))  # moves the running statistics
        teacher.follow(model)
        expected = {k: momentum * expected[k] + (1 - momentum) * v for k, v in model.named_parameters()}
    torch.testing.assert_close(dict(teacher.network.named_parameters()), {k: v.detach() for k, v in expected.items()})
    torch.testing.assert_close(dict(teacher.network.named_buffers()), dict(model.named_buffers()), rtol=0, atol=0)


def test_ema_is_a_copy_and_leaves_the_model_trainable() -> None:
    model = Normed()
    teacher = Ema(model)
    torch.testing.assert_close(state(teacher.network), state(model), rtol=0, atol=0)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert not {id(p) for p in model.parameters()} & {id(p) for p in teacher.parameters()}


def test_a_teacher_must_say_how_it_follows() -> None:
    with pytest.raises(NotImplementedError):
        Teacher(Rows(3)).follow(Rows(3))
