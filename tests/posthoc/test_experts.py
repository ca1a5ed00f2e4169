"""SADE's test-time weights: who agrees with itself is heard; and what every fit of weights must keep."""

import math

import pytest
import torch
from losses.cases import F64, normal
from torch import Tensor

from tailwise import rng
from tailwise.posthoc import aggregate
from tailwise.posthoc.experts import LEAST, agreement
from tailwise.types import TailwiseError


def views(noise: tuple[float, ...], images: int = 500, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Experts that see the same answer through more or less noise, which is new in each view."""
    answer = 3 * torch.eye(classes, dtype=F64)[torch.arange(images) % classes]
    pair = [
        torch.stack([answer + level * normal(100 * view + e, images, classes) for e, level in enumerate(noise)])
        for view in (0, 1)
    ]
    return pair[0], pair[1]


def slow_agreement(weights: Tensor, a: Tensor, b: Tensor) -> float:
    """Image by image, class by class."""
    total = 0.0
    for n in range(a.shape[1]):
        p = []
        for view in (a, b):
            scores = [sum(float(weights[e] * view[e, n, c]) for e in range(len(weights))) for c in range(view.shape[2])]
            p.append([math.exp(s) / sum(map(math.exp, scores)) for s in scores])
        lengths = math.prod(math.sqrt(sum(x * x for x in q)) for q in p)
        total += sum(x * y for x, y in zip(*p, strict=True)) / lengths
    return total / a.shape[1]


def test_agreement_equals_the_loop() -> None:
    a, b = views((0.5, 2.0), images=4)
    weights = torch.tensor([0.3, 0.7], dtype=F64)
    assert float(agreement(weights, a, b)) == pytest.approx(slow_agreement(weights, a, b))


def test_the_steadiest_expert_is_heard_most() -> None:
    a, b = views((0.1, 1.0, 3.0))
    weights = aggregate(a, b)
    assert float(weights.sum()) == pytest.approx(1)
    assert weights.tolist() == sorted(weights.tolist(), reverse=True)
    assert float(weights[0]) > 0.4
    equal = torch.full((3,), 1 / 3, dtype=F64)
    assert float(agreement(weights, a, b)) > float(agreement(equal, a, b))


def by_hand(a: Tensor, b: Tensor, epochs: int) -> Tensor:
    """Nesterov SGD written out, its gradient by central differences."""
    raw, velocity = torch.full((len(a),), 1 / len(a), dtype=F64), torch.zeros(len(a), dtype=F64)
    first = True
    for epoch in range(epochs):
        for rows in rng.permutation(a.shape[1], epoch).split(128):  # type: ignore[no-untyped-call]
            step = 1e-6 * torch.eye(len(a), dtype=F64)
            gradient = 5e-4 * raw
            for e in range(len(a)):
                up, down = (agreement((raw + s * step[e]).softmax(0), a[:, rows], b[:, rows]) for s in (1, -1))
                gradient[e] -= (up - down) / 2e-6
            velocity = gradient if first else 0.9 * velocity + gradient
            raw, first = raw - 0.1 * (gradient + 0.9 * velocity), False
    return raw.softmax(0)


def test_five_epochs_of_the_published_optimiser() -> None:
    a, b = views((0.5, 1.0, 1.5), images=300)
    torch.testing.assert_close(aggregate(a, b), by_hand(a, b, 5), rtol=1e-5, atol=1e-7)


def test_it_stops_after_the_epoch_in_which_a_weight_falls_below_the_least() -> None:
    a, b = views((0.05, 0.05, 6.0), images=6000)
    ends = [by_hand(a, b, epochs) for epochs in (1, 2)]
    stop = next(end for end in ends if float(end.min()) < LEAST)
    torch.testing.assert_close(aggregate(a, b), stop, rtol=1e-4, atol=1e-6)


def test_equal_input_gives_equal_weights_and_no_graph() -> None:
    a, b = (view.float().requires_grad_() for view in views((0.5, 1.0), images=50))
    with torch.no_grad():
        weights = aggregate(a, b)
    torch.manual_seed(3)
    assert torch.equal(aggregate(a, b), weights)
    assert (weights.dtype, weights.requires_grad, a.grad) == (torch.float32, False, None)


@pytest.mark.parametrize("copies", [1, 3])
def test_experts_that_agree_with_each_other_stay_equal(copies: int) -> None:
    a, b = views((1.0,), images=20)
    torch.testing.assert_close(
        aggregate(a.expand(copies, -1, -1), b.expand(copies, -1, -1)), torch.full((copies,), 1 / copies, dtype=F64)
    )


def test_extreme_logits_stay_finite() -> None:
    a = 1e6 * torch.randn(2, 10, 3)
    assert bool(aggregate(a, -a).isfinite().all())


def test_mistakes_are_named() -> None:
    a = torch.zeros(2, 4, 3)
    for left, right in ((a, a[:, :3]), (a[0], a[0]), (a[:, :0], a[:, :0])):
        with pytest.raises(TailwiseError, match="give the same \\(experts, images, classes\\) for both views"):
            aggregate(left, right)
    with pytest.raises(TailwiseError, match="not finite"):
        aggregate(a, a.clone().fill_(math.nan))
