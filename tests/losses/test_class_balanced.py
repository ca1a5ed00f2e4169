"""Class-weighted cross-entropy: both means of the golden values, limits, and the prior that it leaves."""

from math import log

import pytest
import torch
from hypothesis import given
from losses.cases import GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems, normal
from losses.population import settle
from losses.slow import softmax
from tiny import Rows, batch
from torch.autograd import gradcheck

from tailwise.counts import log_prior
from tailwise.losses import CrossEntropy, cross_entropy
from tailwise.losses.class_balanced import ClassBalanced, class_balanced
from tailwise.losses.reweight import class_weights
from tailwise.types import IGNORE


@given(logit_problems())
def test_equals_the_loop(problem: Logits) -> None:
    weights = class_weights(problem.counts, 0.999)
    slow = [
        -weights[y].item() * log(softmax(f)[y]) for f, y in zip(problem.logits.tolist(), problem.labels.tolist(), strict=True)
    ]
    compare(class_balanced(problem.logits, problem.labels, weights), slow)


@pytest.mark.parametrize(
    ("beta", "weighted_mean", "batch_mean"), [(0.99, 0.7904806611, 1.0711629648), (0.9999, 0.7937971748, 1.0832666899)]
)
def test_golden(beta: float, weighted_mean: float, batch_mean: float) -> None:
    weights = class_weights(GOLDEN_COUNTS, beta)
    loss = class_balanced(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS, weights).mean()
    assert loss.item() == pytest.approx(batch_mean, rel=1e-6)
    assert (loss / weights[GOLDEN_LOGIT_LABELS].mean()).item() == pytest.approx(weighted_mean, rel=1e-6)


def test_gradient() -> None:
    weights = class_weights(GOLDEN_COUNTS, 0.99)
    gradcheck(lambda f: class_balanced(f, GOLDEN_LOGIT_LABELS, weights), GOLDEN_LOGITS.clone().requires_grad_())


def test_objective_takes_the_mean_over_labelled_samples() -> None:
    model = Rows(3)
    objective = ClassBalanced([100, 10, 2], model, beta=0.99)
    given_batch = batch("rows", 1, torch.tensor([0, IGNORE, 2, 1]))
    out, kept = model(given_batch.views), torch.tensor([0, 2, 3])
    labels = given_batch.labels[kept]
    expected = (objective.class_weight[labels] * cross_entropy(out.logits[0, kept], labels)).mean()
    torch.testing.assert_close(objective(out, given_batch), {"cls": expected})


def test_beta_of_zero_is_cross_entropy() -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 2, 1]))
    out = model(given_batch.views)
    plain = CrossEntropy([100, 10, 2], model)(out, given_batch)
    torch.testing.assert_close(ClassBalanced([100, 10, 2], model, beta=0.0)(out, given_batch), plain)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_scores_less_the_carried_prior_are_those_of_a_balanced_population(beta: float) -> None:
    balanced = normal(0, 5, 3).softmax(1)
    posterior = (balanced.log() + log_prior(GOLDEN_COUNTS)).softmax(1)
    weights = class_weights(GOLDEN_COUNTS, beta)
    scores = settle(lambda f, y: class_balanced(f, y, weights), posterior)
    carried = ClassBalanced(GOLDEN_COUNTS, Rows(3), beta).carried_log_prior
    torch.testing.assert_close((scores - carried).softmax(1), balanced, rtol=0, atol=1e-6)
