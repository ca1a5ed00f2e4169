"""LDAM: golden values on raw cosines, the convention of the scale, margins, its mean, and DRW."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems
from losses.population import pull_at_equal_scores
from tiny import Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.losses import CrossEntropy, cross_entropy
from tailwise.losses.ldam import LDAM, ldam, ldam_margins
from tailwise.losses.reweight import class_weights
from tailwise.models import Cosine
from tailwise.types import IGNORE, Output, TailwiseError


def on_raw_cosines(cosines: Tensor, labels: Tensor, counts: Tensor, max_margin: float, scale: float) -> list[float]:
    """The paper's form: the margin is taken from the cosine, then everything is scaled."""
    roots = [n**-0.25 for n in counts.tolist()]
    values = []
    for row, y in zip(cosines.tolist(), labels.tolist(), strict=True):
        scores = [scale * (c - (max_margin * roots[y] / max(roots) if j == y else 0)) for j, c in enumerate(row)]
        top = max(scores)
        values.append(top + log(sum(exp(s - top) for s in scores)) - scores[y])
    return values


@given(logit_problems(), st.sampled_from([0.0, 0.3, 0.5]), st.sampled_from([1.0, 10.0, 30.0]))
def test_equals_the_loop_on_raw_cosines(problem: Logits, max_margin: float, scale: float) -> None:
    cosines = problem.logits.tanh()
    fast = ldam(scale * cosines, problem.labels, ldam_margins(problem.counts, max_margin), scale)
    compare(fast, on_raw_cosines(cosines, problem.labels, problem.counts, max_margin, scale))


def test_golden() -> None:
    margins = ldam_margins(GOLDEN_COUNTS, 0.5)
    expected = torch.tensor([0.188030, 0.334370, 0.5], dtype=F64)
    torch.testing.assert_close(margins, expected, rtol=0, atol=5e-7)
    cosines = GOLDEN_LOGITS / 4
    loss = ldam(30 * cosines, GOLDEN_LOGIT_LABELS, margins, 30).mean()
    assert loss.item() == pytest.approx(8.1212722550, rel=1e-6)


def test_the_margin_is_in_cosine_whatever_the_scale() -> None:
    """What a cosine classifier puts out, with the scale that it states: a lead of m_y in cosine is lost, at any scale."""
    torch.manual_seed(0)
    margins, labels = ldam_margins(GOLDEN_COUNTS, 0.5), torch.tensor([0, 1, 2, 2])
    features = torch.randn(4, 6, dtype=F64)
    for scale in (1.0, 30.0):
        classifier = Cosine(6, 3, scale).double()
        cosines = classifier(features) / scale
        lowered = cosines - margins[labels, None] * torch.eye(3, dtype=F64)[labels]
        expected = cross_entropy(scale * lowered, labels)
        torch.testing.assert_close(ldam(classifier(features), labels, margins, classifier.scale), expected)


def test_the_objective_reads_the_scale_of_the_output() -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 2, 1]))
    out = model(given_batch.views)
    objective = LDAM(GOLDEN_COUNTS, model, beta=0.0)
    for scale in (1.0, 30.0):
        scaled = Output(out.logits, out.features, out.classifier, scale)
        expected = ldam(out.logits[0], given_batch.labels, objective.margins, scale).mean()
        torch.testing.assert_close(objective(scaled, given_batch), {"cls": expected})


@given(logit_problems())
def test_no_margin_is_cross_entropy(problem: Logits) -> None:
    margins = ldam_margins(problem.counts, 0.0)
    plain = cross_entropy(problem.logits, problem.labels)
    torch.testing.assert_close(ldam(problem.logits, problem.labels, margins, 30.0), plain)


def test_gradient() -> None:
    margins = ldam_margins(GOLDEN_COUNTS, 0.5)
    gradcheck(lambda f: ldam(f, GOLDEN_LOGIT_LABELS, margins, 3.0), GOLDEN_LOGITS.clone().requires_grad_())


def test_margins_at_the_edges() -> None:
    torch.testing.assert_close(ldam_margins(torch.tensor([0, 1, 16]), 0.5), torch.tensor([0.5, 0.5, 0.25], dtype=F64))
    torch.testing.assert_close(ldam_margins(torch.tensor([7, 7]), 0.3), torch.tensor([0.3, 0.3], dtype=F64))


def test_defaults_are_deferred_and_the_mean_is_weighted() -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 0, 2, IGNORE, 1]))
    out, objective = model(given_batch.views), LDAM(GOLDEN_COUNTS, model)
    assert LDAM.classifier == "cosine"
    kept = given_batch.labels != IGNORE
    values = ldam(out.logits[0][kept], given_batch.labels[kept], objective.margins, 1.0)
    objective.on_epoch(159, 200)
    torch.testing.assert_close(objective(out, given_batch), {"cls": values.mean()})
    objective.on_epoch(160, 200)
    weights = class_weights(GOLDEN_COUNTS, 0.9999).float()[given_batch.labels[kept]]
    torch.testing.assert_close(objective(out, given_batch), {"cls": (weights * values).sum() / weights.sum()})


def test_without_margin_and_weights_it_is_cross_entropy() -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 2, 1]))
    out = model(given_batch.views)
    plain = CrossEntropy(GOLDEN_COUNTS, model)(out, given_batch)
    torch.testing.assert_close(LDAM(GOLDEN_COUNTS, model, max_margin=0.0, beta=0.0)(out, given_batch), plain)


@pytest.mark.parametrize("beta", [0.0, 0.99])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_margins_leave_the_prior_up_to_a_small_factor(beta: float, scale: float) -> None:
    objective = LDAM(GOLDEN_COUNTS, Rows(3), beta=beta, deferred=0.0)
    weights, margins = objective.class_weight.double(), objective.margins.double()
    shift = (2 + (-scale * margins).exp()).log()  # between log(C − 1) and log C
    assert (shift.max() - shift.min()).item() < log(3 / 2)
    pull = pull_at_equal_scores(
        lambda f, y: weights[y] * ldam(f, y, margins, scale), objective.log_prior, objective.carried_log_prior - shift
    )
    torch.testing.assert_close(pull, torch.zeros_like(pull), rtol=0, atol=1e-6)


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(TailwiseError, match="max_margin"):
        LDAM([3, 2], Rows(2), max_margin=-0.1)
