"""Logit adjustment against its loop version, golden values, its gradient, and its limits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses import slow
from losses.cases import GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems
from tiny import Rows, batch
from torch.autograd import gradcheck

from tailwise.counts import log_prior
from tailwise.losses import CrossEntropy, LogitAdjusted, cross_entropy, logit_adjusted


@given(logit_problems(), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_equals_the_loop(problem: Logits, tau: float) -> None:
    fast = logit_adjusted(problem.logits, problem.labels, log_prior(problem.counts), tau)
    compare(fast, slow.logit_adjusted(problem.logits, problem.labels, problem.counts, tau))


@pytest.mark.parametrize(("tau", "value"), [(0.5, 1.1710964723), (1.0, 2.1040886776), (2.0, 4.4798389510)])
def test_golden(tau: float, value: float) -> None:
    loss = logit_adjusted(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS, log_prior(GOLDEN_COUNTS), tau).mean()
    assert loss.item() == pytest.approx(value, rel=1e-6)


@given(logit_problems())
def test_without_an_effect_it_is_cross_entropy(problem: Logits) -> None:
    plain = cross_entropy(problem.logits, problem.labels)
    uniform = log_prior(torch.full_like(problem.counts, 7))
    torch.testing.assert_close(logit_adjusted(problem.logits, problem.labels, uniform), plain)
    torch.testing.assert_close(logit_adjusted(problem.logits, problem.labels, log_prior(problem.counts), 0.0), plain)


def test_gradient() -> None:
    prior = log_prior(GOLDEN_COUNTS)
    gradcheck(lambda f: logit_adjusted(f, GOLDEN_LOGIT_LABELS, prior, 1.5), GOLDEN_LOGITS.clone().requires_grad_())


@pytest.mark.parametrize(("tau", "left"), [(1.0, 0.0), (0.25, 0.75), (0.0, 1.0)])
def test_carried_prior(tau: float, left: float) -> None:
    objective = LogitAdjusted([6, 3, 1], Rows(3), tau)
    torch.testing.assert_close(objective.carried_log_prior, left * torch.tensor([0.6, 0.3, 0.1]).log())


@pytest.mark.parametrize("objective", [CrossEntropy, LogitAdjusted])
def test_mixed_targets_are_taken(objective: type[CrossEntropy]) -> None:
    model = Rows(3)
    labels = torch.tensor([0, 2, 1, 2])
    hard, mixed = batch("rows", 1, labels), batch("rows", 1, torch.eye(3)[labels])
    loss = objective([6, 3, 1], model)
    torch.testing.assert_close(loss(model(mixed.views), mixed), loss(model(hard.views), hard))
