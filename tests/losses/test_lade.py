"""LADE's regulariser against its loop version, golden values, absent classes, and the limits of the objective."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, logit_problems, normal
from losses.slow import mean
from tiny import Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.counts import log_prior
from tailwise.losses import LogitAdjusted, logit_adjusted
from tailwise.losses.lade import LADE, lade_regulariser
from tailwise.types import IGNORE, TailwiseError


def regulariser(logits: Tensor, labels: Tensor, counts: Tensor, penalty: float) -> float:
    """−Σ_c π_c (mean over class c of f_c − S_c − λ S_c²), the mean 0 for an absent class."""
    rows, n = logits.tolist(), counts.tolist()
    value = 0.0
    for c, prior in enumerate(k / sum(n) for k in n):
        of_class = [f[c] for f, y in zip(rows, labels.tolist(), strict=True) if y == c]
        everywhere = log(mean([exp(f[c]) / prior / len(n) for f in rows]))
        value -= prior * ((mean(of_class) if of_class else 0.0) - everywhere - penalty * everywhere**2)
    return value


@given(logit_problems(), st.sampled_from([0.0, 0.01, 0.5]))
def test_equals_the_loop(problem: Logits, penalty: float) -> None:
    fast = lade_regulariser(problem.logits, problem.labels, log_prior(problem.counts), penalty)
    assert fast.item() == pytest.approx(
        regulariser(problem.logits, problem.labels, problem.counts, penalty), rel=1e-9, abs=1e-9
    )


def test_golden() -> None:
    prior = log_prior(GOLDEN_COUNTS)
    value = lade_regulariser(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS, prior, 0.1)
    assert value.item() == pytest.approx(-1.6936943483, rel=1e-6)
    total = logit_adjusted(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS, prior).mean() + 0.1 * value
    assert total.item() == pytest.approx(1.9347192162, rel=1e-6)


def test_the_objective_is_the_golden_total() -> None:
    model, given_batch = Rows(3), batch("rows", 1, GOLDEN_LOGIT_LABELS)
    out = model(given_batch.views)
    terms = LADE(GOLDEN_COUNTS, model, regulariser_weight=0.1, penalty=0.1)(
        type(out)(GOLDEN_LOGITS.float()[None], out.features, out.classifier), given_batch
    )
    assert sum(terms.values()).item() == pytest.approx(1.9347192162, rel=1e-5)


def test_unlabelled_samples_take_no_part() -> None:
    prior, more = log_prior(GOLDEN_COUNTS), 5 * normal(0, 2, 3)
    logits = torch.cat([GOLDEN_LOGITS, more])
    labels = torch.cat([GOLDEN_LOGIT_LABELS, torch.full((2,), IGNORE)])
    expected = lade_regulariser(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS, prior, 0.1)
    torch.testing.assert_close(lade_regulariser(logits, labels, prior, 0.1), expected)
    logits.requires_grad_()
    nobody = lade_regulariser(logits, torch.full((6,), IGNORE), prior, 0.1)
    nobody.backward()
    assert nobody.item() == 0
    assert logits.grad is not None
    assert bool((logits.grad == 0).all())


def test_an_absent_class_is_still_averaged_over_all_samples() -> None:
    """Without a sample of class 2 its mean is 0, but its logits are still pressed down."""
    logits = GOLDEN_LOGITS.clone().requires_grad_()
    lade_regulariser(logits, torch.tensor([0, 1, 0, 1]), log_prior(GOLDEN_COUNTS), 0.0).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.sum(0), torch.tensor([0, 0, 2 / 112], dtype=F64))
    assert bool((logits.grad[:, 2] > 0).all())


def test_gradient() -> None:
    prior = log_prior(GOLDEN_COUNTS)
    gradcheck(lambda f: lade_regulariser(f, GOLDEN_LOGIT_LABELS, prior, 0.1), GOLDEN_LOGITS.clone().requires_grad_())


def test_without_the_regulariser_it_is_logit_adjustment() -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 2, IGNORE, 1]))
    out = model(given_batch.views)
    terms = LADE(GOLDEN_COUNTS, model, regulariser_weight=0.0)(out, given_batch)
    assert terms["reg"].item() == 0
    torch.testing.assert_close(terms["cls"], LogitAdjusted(GOLDEN_COUNTS, model)(out, given_batch)["cls"])


def test_scores_carry_no_prior() -> None:
    assert bool((LADE([6, 3, 1], Rows(3)).carried_log_prior == 0).all())


@pytest.mark.parametrize("options", [{"regulariser_weight": -0.1}, {"penalty": -0.1}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(TailwiseError, match="LADE: regulariser_weight and penalty"):
        LADE([3, 2], Rows(2), **options)
