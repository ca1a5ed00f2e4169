"""Logit margins and the weighted embedding term: limits, golden weights, gradient, queue and ramp."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses import slow
from losses.cases import (
    GOLDEN_COUNTS,
    GOLDEN_LABELS,
    GOLDEN_LOGIT_LABELS,
    GOLDEN_LOGITS,
    GOLDEN_ROWS,
    Contrast,
    Logits,
    compare,
    contrasts,
    logit_problems,
    normal,
)
from tiny import Rows, batch
from torch.autograd import gradcheck

from tailwise.counts import log_prior
from tailwise.losses import ELM, LogitAdjusted, LogTriplet, cross_entropy, embedding_spread, logit_adjusted, logit_margin
from tailwise.losses.elm import rarity_weights
from tailwise.types import IGNORE


@given(logit_problems())
def test_logit_margin_equals_the_loop(problem: Logits) -> None:
    margins = normal(problem.seed, len(problem.counts), len(problem.counts))
    compare(
        logit_margin(problem.logits, problem.labels, margins),
        slow.logit_margin(problem.logits, problem.labels, margins),
    )


@given(logit_problems(), st.sampled_from([0.5, 1.0, 2.0]))
def test_margins_of_the_prior_are_logit_adjustment(problem: Logits, tau: float) -> None:
    prior = log_prior(problem.counts)
    table = tau * (prior - prior[:, None])
    torch.testing.assert_close(
        logit_margin(problem.logits, problem.labels, table), logit_adjusted(problem.logits, problem.labels, prior, tau)
    )


@given(logit_problems())
def test_no_margins_are_cross_entropy(problem: Logits) -> None:
    table = torch.zeros(len(problem.counts), len(problem.counts))
    torch.testing.assert_close(
        logit_margin(problem.logits, problem.labels, table), cross_entropy(problem.logits, problem.labels)
    )


def test_logit_margin_gradient() -> None:
    gradcheck(
        lambda f, m: logit_margin(f, GOLDEN_LOGIT_LABELS, m),
        (GOLDEN_LOGITS.clone().requires_grad_(), normal(0, 3, 3).requires_grad_()),
    )


@pytest.mark.parametrize(
    ("gamma", "weights"),
    [
        (0.25, (0.909821, 1.617917, 2.419350)),
        (0.5, (0.768360, 2.429769, 5.433129)),
        (1.0, (0.373333, 3.733333, 18.666667)),
    ],
)
def test_golden_weights(gamma: float, weights: tuple[float, ...]) -> None:
    assert rarity_weights(GOLDEN_COUNTS, gamma).tolist() == pytest.approx(weights, abs=5e-7)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_weight_of_an_average_sample_is_one(counts: list[int], gamma: float) -> None:
    given_counts = torch.tensor(counts)
    assert (rarity_weights(given_counts, gamma) * log_prior(given_counts).exp()).sum().item() == pytest.approx(1)


@given(contrasts())
def test_spread_normalises_and_weighs(problem: Contrast) -> None:
    weights, scale = rarity_weights(problem.counts, 0.5), 1 + normal(problem.seed, len(problem.columns), 1).abs()
    fast = embedding_spread(
        LogTriplet(0.5, 1.0), scale[problem.position] * problem.anchors, problem.labels, scale * problem.columns,
        problem.column_labels, problem.position, problem.counts, weights,
    )  # fmt: skip
    spread = (problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position, problem.counts)
    plain = slow.log_triplet(spread, 0.5, 1.0)
    compare(fast, [weights[y.clamp(min=0)].item() * v for y, v in zip(problem.labels, plain, strict=True)])


def test_spread_does_not_see_the_order_or_a_rotation() -> None:
    weights = rarity_weights(GOLDEN_COUNTS, 0.5)

    def spread(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return embedding_spread(LogTriplet(), rows, labels, rows, labels, torch.arange(6), GOLDEN_COUNTS, weights)

    expected, order = spread(GOLDEN_ROWS, GOLDEN_LABELS), torch.tensor([3, 0, 5, 1, 4, 2])
    rotation = torch.linalg.qr(normal(0, 4, 4))[0]
    torch.testing.assert_close(spread(GOLDEN_ROWS[order], GOLDEN_LABELS[order]), expected[order])
    torch.testing.assert_close(spread(GOLDEN_ROWS @ rotation, GOLDEN_LABELS), expected)


def test_without_weight_it_is_logit_adjustment() -> None:
    model = Rows(3)
    given_batch = batch("rows", 1, torch.tensor([0, 1, IGNORE, 2, 0]))
    out = model(given_batch.views)
    terms = ELM([6, 3, 1], model, weight=0.0, tau=1.5)(out, given_batch)
    assert terms["emb"] == 0
    torch.testing.assert_close(terms["cls"], LogitAdjusted([6, 3, 1], model, 1.5)(out, given_batch)["cls"])


def test_the_weight_grows_linearly_over_the_first_epochs() -> None:
    model = Rows(3)
    objective = ELM([6, 3, 1], model, ramp=4).eval()
    given_batch = batch("rows", 1, torch.tensor([0, 1, 0, 2, 0]))
    full = objective(model(given_batch.views), given_batch)["emb"]
    shares = []
    for epoch in (0, 0, 1, 2, 3, 9):  # epoch 0 twice: a resumed run is told again
        objective.on_epoch(epoch, 10)
        shares.append((objective(model(given_batch.views), given_batch)["emb"] / full).item())
    assert shares == pytest.approx([0.25, 0.25, 0.5, 0.75, 1, 1])


def test_past_embeddings_are_keys() -> None:
    """A batch without any pair has no embedding term; the next one meets the first in the queue."""
    model = Rows(3)
    objective = ELM([6, 3, 1], model)
    first, second = (batch("rows", 1, torch.tensor([0, 1, 2]), seed) for seed in (1, 2))
    assert objective(model(first.views), first)["emb"] == 0
    assert objective(model(second.views), second)["emb"] > 0
    rows = objective.queue.read().keys
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(6))
