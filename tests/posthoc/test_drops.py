"""DROPS against its loops and golden numbers; with g = u it is post-hoc logit adjustment; it keeps to its ball."""

import math
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, normal
from posthoc.heads import COUNTS, KINDS, head, held_out, logits_of
from torch import Tensor

from tailwise.counts import log_prior
from tailwise.metrics import recalls, tally
from tailwise.metrics.worst_case import worst_case_accuracy
from tailwise.posthoc import Drops, LogitAdjustment, Validation, class_losses, divergence, drops, worst_weights
from tailwise.priors import adjust
from tailwise.types import TailwiseError

UNIFORM = torch.full((3,), 1 / 3, dtype=F64).log()
Kind = Literal["linear", "cosine", "scaled"]


def test_golden() -> None:
    log_g = worst_weights(torch.tensor([0.2, 0.9, 1.8], dtype=F64), UNIFORM, 1.0)
    assert log_g.exp().tolist() == pytest.approx([0.125521, 0.252769, 0.621710], abs=1e-6)
    assert divergence(log_g, UNIFORM) == pytest.approx(0.195006, abs=1e-6)


def slow(
    logits: Tensor, labels: Tensor, pi: list[float], u: list[float], delta: float, iterations: int, rate: float, decay: float
) -> list[float]:
    """The iterate written out; a class without a sample, or with u = 0, keeps its share."""
    classes, g, multiplier = len(u), list(u), 1.0
    for _ in range(iterations):
        alpha = [g[c] / pi[c] for c in range(classes)]
        sums, numbers = [0.0] * classes, [0] * classes
        for row, y in zip(logits.softmax(-1).tolist(), labels.tolist(), strict=True):
            scaled = [alpha[c] * row[c] for c in range(classes)]
            sums[y] += -math.log(scaled[y] / sum(scaled))
            numbers[y] += 1
        known = [c for c in range(classes) if numbers[c]]
        tilted = {c: u[c] * math.exp(sums[c] / numbers[c] / multiplier) for c in known}
        share, total = sum(u[c] for c in known), sum(tilted.values())
        g = [share * tilted[c] / total if c in tilted else u[c] for c in range(classes)]
        gap = sum(g[c] * math.log(g[c] / u[c]) for c in range(classes) if u[c])
        multiplier = max(multiplier + rate * (gap - delta), 0.5)
        rate *= decay
    return g


@given(st.integers(0, 999), st.sampled_from([0.05, 0.5]), st.integers(1, 6), st.sampled_from([0.1, 10.0]))
def test_equals_the_loop(seed: int, delta: float, iterations: int, rate: float) -> None:
    logits, prior = normal(seed, 9, 4), normal(seed + 1, 4).softmax(0)
    u = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=F64)
    present = 4 if seed % 3 else 3  # class 3 may have no sample
    labels = torch.arange(9) % present
    found = drops(logits, labels, prior.log(), u.log(), delta, iterations, rate, 0.9, floor=0.5)
    expected = slow(logits, labels, prior.tolist(), u.tolist(), delta, iterations, rate, 0.9)
    torch.testing.assert_close(found.log_g.exp(), torch.tensor(expected, dtype=F64), rtol=1e-9, atol=1e-12)
    assert found.divergence >= -1e-12
    assert found.multiplier >= 0.5


@given(st.integers(0, 999), st.floats(0.1, 5.0))
def test_g_is_the_maximum_of_its_lagrangian(seed: int, multiplier: float) -> None:
    losses, log_u = normal(seed, 4).abs(), normal(seed + 1, 4).log_softmax(0)

    def value(log_g: Tensor) -> float:
        return float((log_g.exp() * losses).sum()) - multiplier * divergence(log_g, log_u)

    best = worst_weights(losses, log_u, multiplier)
    assert float(best.exp().sum()) == pytest.approx(1)
    for other in range(5):
        assert value(best) >= value((best + 0.3 * normal(seed + other, 4)).log_softmax(0)) - 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_a_ball_of_one_point_is_logit_adjustment(kind: Kind) -> None:
    robust, plain = head(kind), head(kind)
    rows, validation = held_out(robust)
    carried, _ = Drops(delta=0.0)(robust, validation, COUNTS, log_prior(COUNTS))
    LogitAdjustment()(plain, None, COUNTS, log_prior(COUNTS))
    torch.testing.assert_close(logits_of(robust, rows).softmax(-1), logits_of(plain, rows).softmax(-1))
    assert float(carried.max() - carried.min()) == pytest.approx(0, abs=1e-12)


def test_the_edited_logits_carry_g() -> None:
    """Taking the reported prior away again leaves plain logit adjustment."""
    network, plain = head("linear"), head("linear")
    rows, validation = held_out(network)
    carried, chosen = Drops(0.3)(network, validation, COUNTS, log_prior(COUNTS))
    LogitAdjustment()(plain, None, COUNTS, log_prior(COUNTS))
    posterior = adjust(logits_of(network, rows), carried).softmax(-1)
    torch.testing.assert_close(posterior, logits_of(plain, rows).softmax(-1))
    assert float(carried.exp().sum()) == pytest.approx(1)
    assert set(chosen) == {"divergence", "lambda"}
    assert 0 < chosen["divergence"] <= 0.3
    assert chosen["lambda"] >= 1


def hard(seed: int, classes: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """Held-out logits of a long-tailed problem in which some classes are harder than others, and log π."""
    prior = log_prior(torch.tensor([int(5000 * 100 ** (-c / (classes - 1))) for c in range(classes)]))
    means = 0.6 * normal(seed, classes, 16)
    labels = torch.arange(classes).repeat_interleave(40)
    features = means[labels] + normal(seed + 1, len(labels), 16)
    return features @ means.T - 0.5 * means.square().sum(1) + prior, labels, prior


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("delta", [0.2, 0.9])
def test_it_raises_the_worst_case_and_stays_in_its_ball(seed: int, delta: float) -> None:
    logits, labels, prior = hard(seed)
    log_u = torch.full((10,), 0.1, dtype=F64).log()
    found = drops(logits, labels, prior, log_u, delta)

    def worst(log_alpha: Tensor) -> float:
        """The published objective: the largest Σ g_c L_c in the ball, by the metric's own exact solution."""
        value = worst_case_accuracy(-class_losses(logits, labels, log_alpha), delta)
        assert value is not None
        return -value

    assert worst(found.log_g - prior) < worst(log_u - prior)
    assert found.divergence <= delta


def test_a_class_without_a_sample_keeps_plain_adjustment() -> None:
    network, plain = head("linear"), head("linear")
    rows, (logits, labels) = held_out(network)
    seen = labels != 3
    Drops(0.3)(network, Validation(logits[seen], labels[seen]), COUNTS, log_prior(COUNTS))
    LogitAdjustment()(plain, None, COUNTS, log_prior(COUNTS))
    shift = (logits_of(network, rows) - logits_of(plain, rows))[0]
    assert float(shift[3]) == pytest.approx(math.log(1 / 4))  # log u, a constant that moves no prediction by itself
    assert float(shift[:3].exp().sum()) == pytest.approx(3 / 4)
    assert float(shift[:3].std()) > 1e-3


@pytest.mark.parametrize("counts", [[500, 0, 20, 5], [500, 100, 0, 0], [7, 0, 0, 0]])
def test_samples_of_a_class_that_training_lacked_do_no_harm(counts: list[int]) -> None:
    network = head("linear")
    rows, validation = held_out(network)
    given_counts = torch.tensor(counts)
    carried, _ = Drops(0.9)(network, validation, given_counts, log_prior(given_counts))
    predicted = logits_of(network, rows).argmax(-1)
    assert bool((given_counts[predicted] > 0).all())
    assert bool(carried.isfinite().all())


def test_extreme_logits_stay_finite() -> None:
    logits, labels = 1e4 * torch.eye(3, dtype=F64)[[1, 2, 0]], torch.arange(3)
    found = drops(logits, labels, log_prior(torch.tensor([10**9, 1, 1])), UNIFORM, delta=2.0)
    assert bool(found.log_g.isfinite().all())
    assert math.isfinite(found.divergence)


def test_recall_of_the_worst_class_can_rise() -> None:
    logits, labels, prior = hard(1)
    log_u = torch.full((10,), 0.1, dtype=F64).log()
    found = drops(logits, labels, prior, log_u, 0.9)

    def lowest(log_alpha: Tensor) -> float:
        return float(recalls(tally((logits + log_alpha).argmax(-1), labels, 10)).min())

    assert lowest(found.log_g - prior) > lowest(log_u - prior) > lowest(torch.zeros(10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": -0.1}, "delta must be at least 0"),
        ({"delta": math.nan}, "delta must be at least 0"),
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"rate": -1.0}, "rate must be at least 0"),
        ({"decay": 0.0}, r"decay must lie in \(0, 1\]"),
        ({"floor": 0.0}, r"floor must lie in \(0, 1\]"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TailwiseError, match=message):
        Drops(**options)


def test_it_needs_held_out_samples() -> None:
    with pytest.raises(TailwiseError, match=r"^Drops: needs held-out samples .* set data.validation above 0$"):
        Drops()(head("linear"), None, COUNTS, log_prior(COUNTS))
