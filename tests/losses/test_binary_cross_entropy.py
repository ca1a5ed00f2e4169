"""Sigmoid losses: plain cross-entropy against its loop, targets of either kind, and the log odds that scores carry."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, compare, normal
from tiny import Rows, batch
from torch import Tensor

from tailwise.losses import Asymmetric, BinaryCrossEntropy, DistributionBalanced, MultiLabel, binary_cross_entropy
from tailwise.losses.binary_cross_entropy import indifferent, log_odds
from tailwise.priors import adjust
from tailwise.types import IGNORE, TailwiseError

COUNTS, SAMPLES = torch.tensor([600, 90, 8, 0]), 1000
KINDS = [BinaryCrossEntropy, Asymmetric, DistributionBalanced]


def indicators(seed: int, rows: int, classes: int) -> Tensor:
    return (normal(seed, rows, classes) > 0.3).to(F64)


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0]))
def test_equals_the_loop(seed: int, rows: int, classes: int, tau: float) -> None:
    logits, targets, counts = 3 * normal(seed, rows, classes), indicators(seed + 1, rows, classes), torch.arange(1, classes + 1)
    odds, slow = [log(n / (10 - n)) for n in counts.tolist()], []
    for f, y in zip(logits.tolist(), targets.tolist(), strict=True):
        p = [1 / (1 + exp(-(f[c] + tau * odds[c]))) for c in range(classes)]
        slow.append(-sum(log(p[c]) if y[c] else log(1 - p[c]) for c in range(classes)))
    compare(binary_cross_entropy(logits, targets, log_odds(counts, 10), tau), slow)


def test_log_odds_floor_what_is_missing_on_either_side() -> None:
    odds = log_odds(torch.tensor([0, 10, 5]), 10)
    torch.testing.assert_close(odds, torch.tensor([-log(10), log(10), 0.0], dtype=F64))


@pytest.mark.parametrize("cls", KINDS)
def test_one_class_is_the_indicator_of_it(cls: type[MultiLabel]) -> None:
    model, labels = Rows(4), torch.tensor([2, 0, IGNORE, 3])
    objective, given_batch = cls(COUNTS, model, samples=SAMPLES), batch("rows", 1, labels)
    kept = labels >= 0
    hot = batch("rows", 1, torch.eye(4)[labels[kept]])._replace(views=given_batch.views[:, kept])
    torch.testing.assert_close(
        objective(model(given_batch.views), given_batch), objective(model(hot.views), hot), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("cls", KINDS)
def test_indicators_train_every_parameter_and_none_may_be_set(cls: type[MultiLabel]) -> None:
    model = Rows(4)
    objective = cls(COUNTS, model, samples=SAMPLES)
    targets = torch.tensor([[1.0, 1, 0, 1], [0, 0, 0, 0]])
    given_batch = batch("rows", 1, targets)
    terms = objective(model(given_batch.views), given_batch)
    terms["cls"].backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    values = objective.values(model(given_batch.views).logits[0], targets)
    torch.testing.assert_close(terms["cls"], values.mean())


@pytest.mark.parametrize("tau", [0.0, 0.4, 1.0])
def test_it_carries_what_the_adjustment_leaves(tau: float) -> None:
    objective = BinaryCrossEntropy(COUNTS, Rows(4), tau, samples=SAMPLES)
    torch.testing.assert_close(objective.carried_log_prior, (1 - tau) * objective.log_odds, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cls", KINDS)
def test_a_constant_logit_of_least_loss_is_what_is_carried(cls: type[MultiLabel]) -> None:
    """The plain loss over a whole data set of one input, by a grid; where weights differ by labels (r̂) without them."""
    counts = torch.tensor([300, 40])
    objective = cls(counts, Rows(2), samples=400, **({"alpha": 1e6} if cls is DistributionBalanced else {}))
    carried = objective.carried_log_prior.double()
    grid = torch.linspace(-8, 8, 1601, dtype=F64)[:, None].expand(-1, 2)
    columns = []
    for c in range(2):
        one = torch.zeros(1601, 2, dtype=F64)
        one[:, c] = 1
        # the other class's part is the same at every grid point when its logit stays, so only c moves
        logits = torch.where(torch.arange(2) == c, grid, torch.zeros_like(grid))
        loss = counts[c] * objective.values(logits, one) + (400 - counts[c]) * objective.values(logits, torch.zeros_like(one))
        columns.append(grid[loss.argmin(), 0])
    torch.testing.assert_close(carried, torch.stack(columns), rtol=0, atol=0.011)


def test_a_root_far_away_is_found() -> None:
    slow = indifferent(lambda f, y: binary_cross_entropy(0.1 * f, y, torch.zeros(2)), torch.tensor([1, 10**9]), 2 * 10**9)
    torch.testing.assert_close(slow, torch.tensor([-10 * log(2 * 10**9 - 1), 0.0], dtype=F64))


def test_adjusting_takes_the_log_odds_to_another_population() -> None:
    odds = indifferent(lambda f, y: binary_cross_entropy(f, y, torch.zeros(3)), torch.tensor([50, 5, 95]), 100)
    torch.testing.assert_close(adjust(odds, odds).sigmoid(), torch.full((3,), 0.5, dtype=F64))
    target = torch.tensor([0.2, 0.3, 0.9], dtype=F64)
    torch.testing.assert_close(adjust(odds, odds, target.logit()).sigmoid(), target)


@pytest.mark.parametrize("cls", KINDS)
def test_fewer_samples_than_positives_are_refused(cls: type[MultiLabel]) -> None:
    with pytest.raises(TailwiseError, match="600 positives among 599 samples"):
        cls(COUNTS, Rows(4), samples=599)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (BinaryCrossEntropy, {"tau": -1.0}),
        (Asymmetric, {"gamma_positive": -1.0}),
        (Asymmetric, {"gamma_negative": -1.0}),
        (Asymmetric, {"shift": 1.0}),
        (DistributionBalanced, {"alpha": -0.1}),
        (DistributionBalanced, {"beta": 0.0}),
        (DistributionBalanced, {"kappa": -0.1}),
        (DistributionBalanced, {"negative_scale": 0.0}),
    ],
)
def test_options_without_a_meaning_are_refused(cls: type[MultiLabel], options: dict[str, float]) -> None:
    with pytest.raises(TailwiseError, match=next(iter(options))):
        cls([3, 2], Rows(2), **options)
