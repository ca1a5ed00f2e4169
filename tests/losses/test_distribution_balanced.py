"""The distribution-balanced loss against its loop, its limits, and what its weights and tolerance are for."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, compare, normal
from tiny import Rows
from torch.autograd import gradcheck

from tailwise.losses import DistributionBalanced, binary_cross_entropy, distribution_balanced
from tailwise.losses.binary_cross_entropy import log_odds
from tailwise.losses.distribution_balanced import negative_tolerant, rebalanced_weights

COUNTS = torch.tensor([60, 12, 3])
ODDS = log_odds(COUNTS, 70)
OPTIONS = (0.1, 10.0, 0.2, 2.0, 0.025)


@given(st.integers(0, 99), st.integers(1, 5), st.sampled_from([OPTIONS, (0.0, 3.0, 0.5, 1.0, 0.0), (0.3, 1.0, 0.0, 5.0, 1.0)]))
def test_equals_the_loop(seed: int, rows: int, options: tuple[float, float, float, float, float]) -> None:
    logits, targets = 3 * normal(seed, rows, 3), (normal(seed + 1, rows, 3) > 0.3).to(F64)
    targets[targets.sum(1) == 0, 0] = 1  # the loop below cannot do without a label
    alpha, beta, mu, scale, kappa = options
    slow = []
    for f, y in zip(logits.tolist(), targets.tolist(), strict=True):
        value, drawn = 0.0, sum(1 / n for n, own in zip(COUNTS.tolist(), y, strict=True) if own)
        for c, n in enumerate(COUNTS.tolist()):
            weight = alpha + 1 / (1 + exp(-beta * ((1 / n) / drawn - mu)))
            g = f[c] - (-kappa * -log(70 / n - 1))  # z − ν, ν = −κ b̂
            value += weight * (y[c] * log(1 + exp(-g)) + (1 - y[c]) * log(1 + exp(scale * g)) / scale)
        slow.append(value)
    compare(distribution_balanced(logits, targets, COUNTS, ODDS, *options), slow)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.730816951757773, 0.164131686589567]),  # COCO-MLT: neg_scale 2, map gamma 0.2
        ({"mu": 0.3, "negative_scale": 5.0, "kappa": 0.05 / 5}, [0.624966718854472, 0.141389206184600]),  # VOC-MLT
    ],
)
def test_equals_the_steps_of_the_authors_code(options: dict[str, float], expected: list[float]) -> None:
    """Their steps in 40 digits, without the focal factor: bias −log(N/n − 1) · 0.05 / λ, negatives times λ, weights over λ."""
    logits = torch.tensor([[1.2, -0.7, 0.4], [-1.5, 2.0, -3.0]], dtype=F64)
    targets = torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=F64)
    objective = DistributionBalanced([40, 10, 2], Rows(3), samples=50, **options).double()
    torch.testing.assert_close(objective.values(logits, targets), torch.tensor(expected, dtype=F64), rtol=1e-7, atol=0)


@given(st.integers(0, 99))
def test_with_equal_weights_and_without_tolerance_it_is_binary_cross_entropy(seed: int) -> None:
    logits, targets = 3 * normal(seed, 4, 3), (normal(seed + 1, 4, 3) > 0).to(F64)
    plain = distribution_balanced(logits, targets, COUNTS, ODDS, 0.0, 1.0, -100.0, 1.0, 0.0)  # σ(r + 100) is 1
    torch.testing.assert_close(plain, binary_cross_entropy(logits, targets, ODDS))
    shifted = distribution_balanced(logits, targets, COUNTS, ODDS, 0.0, 1.0, -100.0, 1.0, 0.7)
    torch.testing.assert_close(shifted, binary_cross_entropy(logits, targets, ODDS, 0.7))


def test_gradient() -> None:
    logits, targets = normal(0, 4, 3).requires_grad_(), (normal(1, 4, 3) > 0).to(F64)
    gradcheck(lambda f: distribution_balanced(f, targets, COUNTS, ODDS, *OPTIONS), logits)


def test_weights_know_which_labels_come_together() -> None:
    alpha, beta, mu = OPTIONS[:3]
    targets = torch.tensor([[1.0, 0, 0], [1, 0, 1], [0, 0, 0]], dtype=F64)
    weights = rebalanced_weights(targets, COUNTS, alpha, beta, mu)
    together = (1 / 60) / (1 / 60 + 1 / 3)

    def smoothed(ratio: float) -> float:
        return alpha + 1 / (1 + exp(-beta * (ratio - mu)))

    torch.testing.assert_close(weights[0], torch.tensor([smoothed(1), smoothed(5), smoothed(20)], dtype=F64))
    torch.testing.assert_close(weights[1, 0], torch.tensor(smoothed(together), dtype=F64))
    assert weights[1, 0] < weights[0, 0]  # a frequent label that comes with a rare one is drawn for the rare one's sake
    assert weights[2].tolist() == [alpha + 1] * 3


def test_zero_counts_weigh_as_one() -> None:
    targets = torch.eye(3, dtype=F64)
    zero, one = (rebalanced_weights(targets, torch.tensor([60, 12, n]), *OPTIONS[:3]) for n in (0, 1))
    assert torch.equal(zero, one)


@pytest.mark.parametrize(("logit", "milder"), [(-2.0, True), (2.0, False)])
def test_low_negatives_may_rest(logit: float, milder: bool) -> None:
    slopes = []
    for scale in (1.0, 2.0):
        f = torch.full((1, 1), logit, dtype=F64, requires_grad=True)
        (slope,) = torch.autograd.grad(negative_tolerant(f, torch.zeros(1, 1, dtype=F64), torch.zeros(1), scale, 0.0).sum(), f)
        slopes.append(float(slope))
    assert (slopes[1] < slopes[0]) is milder
