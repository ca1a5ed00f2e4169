"""Post-hoc logit adjustment: the stored correction is the one of `priors.adjust`."""

from typing import Literal

import pytest
import torch
from losses.cases import GOLDEN_COUNTS, GOLDEN_LOGITS
from posthoc.heads import COUNTS, KINDS, head, held_out, logits_of

from tailwise.counts import log_prior
from tailwise.posthoc import LogitAdjustment, correction
from tailwise.priors import adjust
from tailwise.types import TailwiseError

Kind = Literal["linear", "cosine", "scaled"]


def test_golden_prediction_at_tau_one() -> None:
    assert (GOLDEN_LOGITS + correction(log_prior(GOLDEN_COUNTS), GOLDEN_COUNTS)).argmax(-1).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_the_edited_network_gives_adjusted_logits(kind: Kind, tau: float) -> None:
    network, prior = head(kind), log_prior(COUNTS)
    rows, validation = held_out(network)
    carried, chosen = LogitAdjustment(tau)(network, None, COUNTS, prior)
    expected = torch.stack([validation.logits[:, c] - tau * prior[c] for c in range(4)], dim=1)
    torch.testing.assert_close(logits_of(network, rows), expected)
    torch.testing.assert_close(carried, (1 - tau) * prior)
    assert chosen == {}
    # what is left of the correction, made by the reported prior, is the whole of it
    torch.testing.assert_close(adjust(logits_of(network, rows), carried), adjust(validation.logits, prior))


def test_nothing_is_corrected_twice() -> None:
    network = head("linear")
    rows, validation = held_out(network)
    LogitAdjustment()(network, None, COUNTS, torch.zeros(4))
    assert torch.equal(logits_of(network, rows), validation.logits)
    carried, _ = LogitAdjustment()(network, None, COUNTS, log_prior(COUNTS))
    once = logits_of(network, rows)
    LogitAdjustment()(network, None, COUNTS, carried)
    assert torch.equal(logits_of(network, rows), once)


@pytest.mark.parametrize("tau", [-0.1, float("inf"), float("nan")])
def test_options_are_checked(tau: float) -> None:
    with pytest.raises(TailwiseError, match="tau must be at least 0 and finite"):
        LogitAdjustment(tau)


def test_a_training_set_of_nothing_is_refused() -> None:
    with pytest.raises(TailwiseError, match="no class is left"):
        LogitAdjustment()(head("linear"), None, torch.zeros(4).long(), torch.zeros(4))
