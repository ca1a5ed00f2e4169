"""Cross-entropy against its loop version, a golden value and its gradient."""

import pytest
import torch
from hypothesis import given
from losses import slow
from losses.cases import GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems
from tiny import Rows, batch
from torch.autograd import gradcheck

from tailwise.losses import CrossEntropy, cross_entropy
from tailwise.types import IGNORE


@given(logit_problems())
def test_equals_the_loop(problem: Logits) -> None:
    compare(cross_entropy(problem.logits, problem.labels), slow.cross_entropy(problem.logits, problem.labels))


def test_golden() -> None:
    assert cross_entropy(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS).mean().item() == pytest.approx(0.628877489142608, rel=1e-6)


def test_target_distributions() -> None:
    share = torch.tensor([0.3, 0.7, 0.0], dtype=torch.float64).expand(4, 3)
    alone = [cross_entropy(GOLDEN_LOGITS, torch.full((4,), c)) for c in (0, 1)]
    torch.testing.assert_close(cross_entropy(GOLDEN_LOGITS, share), 0.3 * alone[0] + 0.7 * alone[1])


def test_gradient() -> None:
    gradcheck(lambda f: cross_entropy(f, GOLDEN_LOGIT_LABELS), GOLDEN_LOGITS.clone().requires_grad_())


def test_objective_is_the_mean_over_labelled_samples() -> None:
    model = Rows(3)
    objective = CrossEntropy([5, 3, 1], model)
    given_batch = batch("rows", 1, torch.tensor([0, IGNORE, 2, 1]))
    out = model(given_batch.views)
    kept = torch.tensor([0, 2, 3])
    expected = torch.nn.functional.cross_entropy(out.logits[0, kept], given_batch.labels[kept])
    torch.testing.assert_close(objective(out, given_batch), {"cls": expected})


def test_scores_carry_the_prior() -> None:
    carried = CrossEntropy([6, 3, 1], Rows(3)).carried_log_prior
    torch.testing.assert_close(carried.exp(), torch.tensor([0.6, 0.3, 0.1]))
