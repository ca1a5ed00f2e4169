"""Class weights and their schedule: golden values, limits, the exact epoch, and what the buffer holds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, GOLDEN_COUNTS
from tiny import Rows

from tailwise.losses.class_balanced import ClassBalanced
from tailwise.losses.reweight import class_weights, deferred
from tailwise.types import TailwiseError

COUNTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=8)
BETAS = st.sampled_from([0.0, 0.9, 0.99, 0.9999, 0.999999])


@given(COUNTS, BETAS)
def test_equals_the_loop(counts: list[int], beta: float) -> None:
    inverse = [(1 - beta) / (1 - beta ** max(n, 1)) for n in counts]
    expected = [len(counts) * w / sum(inverse) for w in inverse]
    torch.testing.assert_close(class_weights(torch.tensor(counts), beta), torch.tensor(expected, dtype=F64))


@pytest.mark.parametrize(
    ("beta", "weights"), [(0.99, [0.075973, 0.503715, 2.420312]), (0.9999, [0.049414, 0.491928, 2.458657])]
)
def test_golden(beta: float, weights: list[float]) -> None:
    torch.testing.assert_close(class_weights(GOLDEN_COUNTS, beta), torch.tensor(weights, dtype=F64), rtol=0, atol=5e-7)


@given(COUNTS)
def test_limits(counts: list[int]) -> None:
    given_counts = torch.tensor(counts)
    assert torch.equal(class_weights(given_counts, 0.0), torch.ones(len(counts), dtype=F64))
    few = given_counts.clamp(max=1000)
    inverse = 1 / few.clamp(min=1).double()
    torch.testing.assert_close(class_weights(few, 1 - 1e-9), len(counts) * inverse / inverse.sum(), rtol=1e-5, atol=0)


def test_beta_of_one_is_refused() -> None:
    with pytest.raises(TailwiseError, match="beta"):
        class_weights(GOLDEN_COUNTS, 1.0)


def sets_in(share: float, epochs: int) -> int:
    """The first epoch with weights."""
    weighted = [
        not torch.equal(deferred(GOLDEN_COUNTS, 0.9, share, e, epochs), torch.ones(3, dtype=F64)) for e in range(epochs)
    ]
    assert weighted == sorted(weighted)
    return epochs - sum(weighted)


@pytest.mark.parametrize(
    ("share", "epochs", "first"),
    [
        (0.8, 200, 160),
        (0.55, 100, 55),  # 55.00000000000001 in floating point
        (0.1 + 0.2, 10, 3),
        (0.29, 100, 29),  # 28.999999999999996
        (0.8, 13, 11),  # 10.4: the eleventh epoch still has none
        (0.0, 5, 0),
        (1.0, 5, 5),
    ],
)
def test_the_epoch_is_exact(share: float, epochs: int, first: int) -> None:
    assert sets_in(share, epochs) == first


@given(st.integers(1, 1000).flatmap(lambda epochs: st.tuples(st.integers(0, epochs), st.just(epochs))))
def test_a_whole_number_of_epochs_is_met_exactly(case: tuple[int, int]) -> None:
    first, epochs = case
    for epoch in {first - 1, first} & set(range(epochs)):
        weights = deferred(GOLDEN_COUNTS, 0.9, first / epochs, epoch, epochs)
        assert torch.equal(weights, torch.ones(3, dtype=F64)) == (epoch < first)


def test_on_epoch_sets_the_weights_in_any_order() -> None:
    objective = ClassBalanced(GOLDEN_COUNTS, Rows(3), beta=0.99, deferred=0.8)
    weights, ones = class_weights(GOLDEN_COUNTS, 0.99).float(), torch.ones(3)
    assert torch.equal(objective.class_weight, ones)
    for epoch, expected in [(0, ones), (160, weights), (199, weights), (199, weights), (159, ones)]:
        objective.on_epoch(epoch, 200)
        torch.testing.assert_close(objective.class_weight, expected)


def test_without_a_delay_the_weights_are_there_from_the_start() -> None:
    objective = ClassBalanced(GOLDEN_COUNTS, Rows(3), beta=0.99)
    torch.testing.assert_close(objective.class_weight, class_weights(GOLDEN_COUNTS, 0.99).float())


def test_the_carried_prior_follows_the_weights() -> None:
    objective = ClassBalanced([6, 3, 1], Rows(3), beta=0.9999, deferred=0.5)
    objective.on_epoch(0, 2)
    torch.testing.assert_close(objective.carried_log_prior.exp(), torch.tensor([0.6, 0.3, 0.1]))
    objective.on_epoch(1, 2)
    torch.testing.assert_close(objective.carried_log_prior.exp(), torch.full((3,), 1 / 3), rtol=0, atol=1e-3)


@pytest.mark.parametrize("options", [{"beta": 1.0}, {"beta": -0.1}, {"deferred": 1.1}, {"deferred": -0.1}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(TailwiseError, match=f"ClassBalanced: {next(iter(options))}"):
        ClassBalanced([3, 2], Rows(2), **options)
