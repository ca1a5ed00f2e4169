"""Vector scaling and CDT: loop version, golden values, limits, and the prior that the scores carry."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems, normal
from losses.population import settle
from tiny import Rows, batch
from torch.autograd import gradcheck

from tailwise.counts import log_prior
from tailwise.losses import LogitAdjusted, cross_entropy, logit_adjusted
from tailwise.losses.vs import CDT, VS, temperatures, vector_scaling
from tailwise.types import TailwiseError


@given(logit_problems(), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 1.0, 1.2]))
def test_equals_the_loop(problem: Logits, gamma: float, tau: float) -> None:
    n = problem.counts.tolist()
    slow = []
    for f, y in zip(problem.logits.tolist(), problem.labels.tolist(), strict=True):
        scores = [s / (max(n) / k) ** gamma + tau * log(k / sum(n)) for s, k in zip(f, n, strict=True)]
        slow.append(log(sum(exp(s) for s in scores)) - scores[y])
    prior = log_prior(problem.counts)
    compare(vector_scaling(problem.logits, problem.labels, prior, problem.counts, gamma, tau), slow)


@pytest.mark.parametrize(
    ("gamma", "tau", "value"),
    [(0.1, 0.0, 0.6737956967), (0.3, 0.0, 0.7412767608), (0.1, 1.0, 2.1910856287), (0.3, 1.0, 2.3023027074)],
)
def test_golden(gamma: float, tau: float, value: float) -> None:
    prior = log_prior(GOLDEN_COUNTS)
    loss = vector_scaling(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS, prior, GOLDEN_COUNTS, gamma, tau).mean()
    assert loss.item() == pytest.approx(value, rel=1e-6)


@given(logit_problems())
def test_limits(problem: Logits) -> None:
    prior, rest = log_prior(problem.counts), (log_prior(problem.counts), problem.counts)
    adjusted = logit_adjusted(problem.logits, problem.labels, prior, 0.7)
    torch.testing.assert_close(vector_scaling(problem.logits, problem.labels, *rest, 0.0, 0.7), adjusted)
    plain = cross_entropy(problem.logits, problem.labels)
    torch.testing.assert_close(vector_scaling(problem.logits, problem.labels, *rest, 0.0, 0.0), plain)


def test_gradient() -> None:
    rest = log_prior(GOLDEN_COUNTS), GOLDEN_COUNTS, 0.3, 1.0
    gradcheck(lambda f: vector_scaling(f, GOLDEN_LOGIT_LABELS, *rest), GOLDEN_LOGITS.clone().requires_grad_())


def test_temperatures() -> None:
    assert temperatures(torch.tensor([16, 1, 0]), 0.25).tolist() == [1.0, 2.0, 2.0]
    assert temperatures(torch.tensor([0, 0]), 0.3).tolist() == [1.0, 1.0]


def test_cdt_is_vector_scaling_without_the_prior() -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 2, 1]))
    out = model(given_batch.views)
    expected = VS(GOLDEN_COUNTS, model, gamma=0.2, tau=0.0)(out, given_batch)
    torch.testing.assert_close(CDT(GOLDEN_COUNTS, model, gamma=0.2)(out, given_batch), expected)
    assert CDT(GOLDEN_COUNTS, model).gamma == VS(GOLDEN_COUNTS, model).gamma == 0.3


@pytest.mark.parametrize("gamma", [0.0, 0.3])
@pytest.mark.parametrize("tau", [0.0, 0.6, 1.0])
def test_scores_less_the_carried_prior_are_those_of_a_balanced_population(gamma: float, tau: float) -> None:
    """The same temperatures on balanced data settle at the scores of the skewed data less what those carry."""
    balanced = normal(0, 5, 3).softmax(1)
    prior = log_prior(GOLDEN_COUNTS)
    skewed = (balanced.log() + prior).softmax(1)
    flat = torch.full((3,), -log(3), dtype=F64)
    on_skewed = settle(lambda f, y: vector_scaling(f, y, prior, GOLDEN_COUNTS, gamma, tau), skewed)
    on_balanced = settle(lambda f, y: vector_scaling(f, y, flat, GOLDEN_COUNTS, gamma, tau), balanced)
    carried = VS(GOLDEN_COUNTS, Rows(3), gamma, tau).carried_log_prior.double()
    left = on_skewed - carried - on_balanced
    torch.testing.assert_close(left, left[:, :1].expand_as(left), rtol=0, atol=1e-5)


def test_carried_prior_of_the_limits() -> None:
    counts = [6, 3, 1]
    assert bool((VS(counts, Rows(3)).carried_log_prior == 0).all())
    adjusted = LogitAdjusted(counts, Rows(3), 0.25).carried_log_prior
    torch.testing.assert_close(VS(counts, Rows(3), 0.0, 0.25).carried_log_prior.softmax(0), adjusted.softmax(0))


@pytest.mark.parametrize("options", [{"gamma": -0.1}, {"tau": -1.0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(TailwiseError, match="VS: gamma and tau"):
        VS([3, 2], Rows(2), **options)
