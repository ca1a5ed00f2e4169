"""Post-hoc adjustment: the golden row, the identities, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailwise.counts import absent, log_prior
from tailwise.priors import adjust
from tailwise.types import TailwiseError

COUNTS = torch.tensor([100, 10, 2])
LOGITS = torch.tensor([[2, -1, 0.5], [0.3, 0.8, -0.4], [-1.2, 0.1, 0.7], [0, 0, 0]], dtype=torch.float64)


def test_golden_prediction_at_tau_one() -> None:
    assert LOGITS.argmax(-1).tolist() == [0, 1, 2, 0]
    assert adjust(LOGITS, log_prior(COUNTS)).argmax(-1).tolist() == [2, 2, 2, 2]


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=6), st.integers(0, 999))
def test_adjusted_posterior_is_bayes_rule(counts: list[int], seed: int) -> None:
    """Softmax of adjusted logits = posterior · target / source, normalised, written out per class."""
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, len(counts), generator=g, dtype=torch.float64)
    target = torch.rand(len(counts), generator=g, dtype=torch.float64) + 0.1
    adjusted = adjust(logits, log_prior(torch.tensor(counts)), target.log()).softmax(-1)
    for row in range(3):
        weights = [float(logits[row, c].exp()) * float(target[c]) / counts[c] for c in range(len(counts))]
        expected = torch.tensor(weights, dtype=torch.float64) / sum(weights)
        torch.testing.assert_close(adjusted[row], expected)


def test_the_source_as_target_changes_nothing() -> None:
    prior = log_prior(COUNTS)
    torch.testing.assert_close(adjust(LOGITS, prior, prior), LOGITS)


def test_logits_that_carry_nothing_stay_as_they_are() -> None:
    """Adjusting by what the objective carries is safe after any loss: logit adjustment with τ = 1 carries 0."""
    assert torch.equal(adjust(LOGITS, torch.zeros(3)), LOGITS)


def test_absent_classes_are_never_predicted() -> None:
    counts = torch.tensor([100, 10, 0])
    logits = torch.tensor([[0.0, 0.0, 50.0]])
    assert adjust(logits, log_prior(counts)).argmax(-1).tolist() == [2]
    adjusted = adjust(logits, log_prior(counts), absent=absent(counts))
    assert adjusted.argmax(-1).tolist() == [1]
    assert adjusted[0, 2] == -torch.inf
    assert adjusted.softmax(-1)[0, 2] == 0


def test_shape_and_type_are_those_of_the_logits() -> None:
    pixels = torch.zeros(2, 4, 5, 3, dtype=torch.float32)
    adjusted = adjust(pixels, log_prior(COUNTS))
    assert (adjusted.shape, adjusted.dtype) == (pixels.shape, torch.float32)


def test_mistakes_are_named() -> None:
    with pytest.raises(TailwiseError, match=r"carried prior of shape \(2,\); give one value for each of 3 classes"):
        adjust(LOGITS, torch.zeros(2))
    with pytest.raises(TailwiseError, match="target prior of shape"):
        adjust(LOGITS, torch.zeros(3), torch.zeros(4))
    with pytest.raises(TailwiseError, match="not finite"):
        adjust(LOGITS, torch.tensor([0.0, 0.0, -torch.inf]))
    with pytest.raises(TailwiseError, match="no class is left"):
        adjust(LOGITS, torch.zeros(3), absent=torch.ones(3, dtype=torch.bool))
