"""Label-dependent temperatures: loop version, limits, and the prior that the scores carry."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems
from losses.population import pull_at_equal_scores
from tiny import Rows, batch
from torch.autograd import gradcheck

from tailwise.losses import cross_entropy
from tailwise.losses.ldt import LDT, label_temperature
from tailwise.types import TailwiseError


@given(logit_problems(), st.sampled_from([0.0, 0.3, 1.0]))
def test_equals_the_loop(problem: Logits, gamma: float) -> None:
    n = problem.counts.tolist()
    slow = []
    for f, y in zip(problem.logits.tolist(), problem.labels.tolist(), strict=True):
        scores = [s * (n[y] / max(n)) ** gamma for s in f]
        slow.append(log(sum(exp(s) for s in scores)) - scores[y])
    compare(label_temperature(problem.logits, problem.labels, problem.counts, gamma), slow)


@given(logit_problems())
def test_gamma_of_zero_is_cross_entropy(problem: Logits) -> None:
    plain = cross_entropy(problem.logits, problem.labels)
    torch.testing.assert_close(label_temperature(problem.logits, problem.labels, problem.counts, 0.0), plain)


def test_a_rare_class_must_win_by_more() -> None:
    """The same lead of 2 over both other classes costs more, the rarer the class."""
    loss = label_temperature(2 * torch.eye(3), torch.arange(3), GOLDEN_COUNTS, 0.3)
    assert bool((loss.diff() > 0).all())


def test_gradient() -> None:
    gradcheck(lambda f: label_temperature(f, GOLDEN_LOGIT_LABELS, GOLDEN_COUNTS, 0.3), GOLDEN_LOGITS.clone().requires_grad_())


def test_objective_is_the_mean() -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 2, 1]))
    out = model(given_batch.views)
    expected = label_temperature(out.logits[0], given_batch.labels, GOLDEN_COUNTS, 0.3).mean()
    torch.testing.assert_close(LDT(GOLDEN_COUNTS, model)(out, given_batch), {"cls": expected})


def test_carried_prior_where_scores_are_equal() -> None:
    objective = LDT(GOLDEN_COUNTS, Rows(3), gamma=0.4)
    pull = pull_at_equal_scores(
        lambda f, y: label_temperature(f, y, GOLDEN_COUNTS, 0.4), objective.log_prior, objective.carried_log_prior
    )
    torch.testing.assert_close(pull, torch.zeros_like(pull), rtol=0, atol=1e-7)


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(TailwiseError, match="gamma"):
        LDT([3, 2], Rows(2), gamma=-0.5)
