"""Focal loss against its loop version, golden values, its slope where p = 1, and its class-balanced form."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems
from losses.population import pull_at_equal_scores
from losses.slow import softmax
from tiny import Rows, batch
from torch.autograd import gradcheck

from tailwise.losses import cross_entropy
from tailwise.losses.class_balanced import ClassBalanced
from tailwise.losses.focal import Focal, focal
from tailwise.types import TailwiseError

GAMMAS = [0.0, 0.5, 1.0, 2.0]


@given(logit_problems(), st.sampled_from(GAMMAS))
def test_equals_the_loop(problem: Logits, gamma: float) -> None:
    slow = []
    for f, y in zip(problem.logits.tolist(), problem.labels.tolist(), strict=True):
        p = softmax(f)
        slow.append(-(sum(q for c, q in enumerate(p) if c != y) ** gamma) * log(p[y]))
    compare(focal(problem.logits, problem.labels, gamma), slow)


@pytest.mark.parametrize(("gamma", "value"), [(0.5, 0.4484874389), (1.0, 0.3273212374), (2.0, 0.1837903368)])
def test_golden(gamma: float, value: float) -> None:
    assert focal(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS, gamma).mean().item() == pytest.approx(value, rel=1e-6)


@given(logit_problems())
def test_gamma_of_zero_is_cross_entropy(problem: Logits) -> None:
    torch.testing.assert_close(focal(problem.logits, problem.labels, 0.0), cross_entropy(problem.logits, problem.labels))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradient(gamma: float) -> None:
    gradcheck(lambda f: focal(f, GOLDEN_LOGIT_LABELS, gamma), GOLDEN_LOGITS.clone().requires_grad_())


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 0.99, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_sure_prediction_has_a_finite_slope(gamma: float, dtype: torch.dtype) -> None:
    away = torch.tensor([5.0, 15.0, 17.0, 40.0, 100.0, 1e4], dtype=dtype)
    logits = torch.stack([away, torch.zeros_like(away)], 1).requires_grad_()
    loss = focal(logits, torch.zeros(6, dtype=torch.int64), gamma)
    (2.0**16 * loss.sum()).backward()
    assert logits.grad is not None
    assert bool(loss.isfinite().all())
    assert bool(logits.grad.isfinite().all())
    assert loss[-1] == 0
    assert bool((logits.grad[-1] == 0).all())


def test_with_weights_it_is_class_balanced() -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 2, 1, 1]))
    out = model(given_batch.views)
    objective = Focal(GOLDEN_COUNTS, model, gamma=2.0, beta=0.99)
    values = objective.class_weight[given_batch.labels] * focal(out.logits[0], given_batch.labels, 2.0)
    torch.testing.assert_close(objective(out, given_batch), {"cls": values.mean()})
    plain = ClassBalanced(GOLDEN_COUNTS, model, beta=0.99)(out, given_batch)
    torch.testing.assert_close(Focal(GOLDEN_COUNTS, model, gamma=0.0, beta=0.99)(out, given_batch), plain)


@pytest.mark.parametrize("beta", [0.0, 0.99])
def test_carried_prior_where_scores_are_equal(beta: float) -> None:
    objective = Focal(GOLDEN_COUNTS, Rows(3), gamma=2.0, beta=beta)
    weights = objective.class_weight.double()
    pull = pull_at_equal_scores(lambda f, y: weights[y] * focal(f, y, 2.0), objective.log_prior, objective.carried_log_prior)
    torch.testing.assert_close(pull, torch.zeros_like(pull), rtol=0, atol=1e-7)


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(TailwiseError, match="gamma"):
        Focal([3, 2], Rows(2), gamma=-0.5)
