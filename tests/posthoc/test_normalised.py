"""τ-normalisation against its loops, its limits, and the choice of τ."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import normal
from posthoc.heads import COUNTS, head, held_out, logits_of
from torch import Tensor

from tailwise.counts import log_prior
from tailwise.posthoc import TauNormalisation, Validation, choose_tau, tau_normalised
from tailwise.posthoc.normalised import GRID
from tailwise.types import IGNORE, TailwiseError


def slow(rows: Tensor, tau: float) -> Tensor:
    """Row by row."""
    out = []
    for row in rows.tolist():
        length = sum(x * x for x in row) ** 0.5
        out.append([x / length**tau if length else 0.0 for x in row])
    return torch.tensor(out, dtype=torch.float64)


@given(st.integers(0, 999), st.integers(1, 5), st.floats(0, 3))
def test_equals_the_loop(seed: int, classes: int, tau: float) -> None:
    rows = normal(seed, classes, 3) * 10 ** normal(seed + 1, classes, 1)
    rows[seed % classes] = 0
    torch.testing.assert_close(tau_normalised(rows, tau), slow(rows, tau))


def test_limits() -> None:
    rows = normal(0, 4, 3)
    assert torch.equal(tau_normalised(rows, 0.0), rows)
    torch.testing.assert_close(tau_normalised(rows, 1.0).norm(dim=1), torch.ones(4, dtype=torch.float64))
    tiny = torch.full((1, 3), 1e-45)  # shorter than float32 can divide by
    assert bool(tau_normalised(tiny, 2.0).float().isfinite().all())


def test_the_bias_is_dropped_and_the_prior_with_it() -> None:
    network = head("linear")
    rows, _ = held_out(network)
    weight = network.classifier.weight.detach().clone()
    carried, chosen = TauNormalisation(0.7)(network, None, COUNTS, log_prior(COUNTS))
    torch.testing.assert_close(logits_of(network, rows), rows @ slow(weight, 0.7).T)
    assert (carried.tolist(), chosen) == ([0, 0, 0, 0], {})


@given(st.integers(0, 999))
def test_the_choice_is_the_best_of_the_grid(seed: int) -> None:
    features, rows = normal(seed, 12, 3), normal(seed + 1, 4, 3) * torch.tensor([[4.0], [2.0], [1.0], [0.5]])
    labels = torch.randint(0, 3, (12,), generator=torch.Generator().manual_seed(seed))  # class 3 has no sample
    excluded = torch.tensor([False, False, seed % 2 == 0, False])
    found = choose_tau(features @ rows.T, labels, rows, excluded)
    best, value = 0.0, -1.0
    for tau in (k / 10 for k in range(21)):
        scores = features @ slow(rows, tau).T
        scores[:, excluded] = -1e30
        hits = scores.argmax(1) == labels
        recall = [float(hits[labels == c].double().mean()) for c in range(4) if c in labels]
        if sum(recall) / len(recall) > value + 1e-12:
            best, value = tau, sum(recall) / len(recall)
    assert found == best


@pytest.mark.parametrize("kind", ["linear", "scaled"])
def test_choosing_is_giving_what_was_chosen(kind: str) -> None:
    """The choice is made from logits with a bias; the rows of the head classes are long, so some τ > 0 is better."""
    networks = [head(kind), head(kind)]  # type: ignore[arg-type]
    for network in networks:
        classifier = network.classifier
        classifier.assign(classifier.weight * torch.tensor([[8.0], [4.0], [1.0], [0.5]]), torch.tensor([5.0, 0, 0, -5]))
    rows, validation = held_out(networks[0], noise=2.0)
    validation.labels[0] = IGNORE
    weight = networks[0].classifier.weight.detach()
    expected = choose_tau((rows @ weight.T)[1:], validation.labels[1:], weight, torch.zeros(4, dtype=torch.bool))
    _, chosen = TauNormalisation()(networks[0], validation, COUNTS, log_prior(COUNTS))
    assert chosen["tau"] == expected > 0
    assert chosen["tau"] in GRID
    TauNormalisation(chosen["tau"])(networks[1], None, COUNTS, log_prior(COUNTS))
    torch.testing.assert_close(logits_of(networks[0], rows), logits_of(networks[1], rows))
    before = (validation.logits.argmax(1) == validation.labels).double().mean()
    assert (logits_of(networks[0], rows).argmax(1) == validation.labels).double().mean() > before


def test_refusals_are_one_line() -> None:
    with pytest.raises(TailwiseError, match=r"^TauNormalisation: set tau, or hold out data.validation$"):
        TauNormalisation()(head("linear"), None, COUNTS, log_prior(COUNTS))
    unlabelled = Validation(torch.zeros(2, 4), torch.full((2,), IGNORE))
    with pytest.raises(TailwiseError, match="set tau, or hold out"):
        TauNormalisation()(head("linear"), unlabelled, COUNTS, log_prior(COUNTS))
    with pytest.raises(TailwiseError, match="rows are normalised already"):
        TauNormalisation(1.0)(head("cosine"), None, COUNTS, log_prior(COUNTS))
    with pytest.raises(TailwiseError, match="tau must be at least 0 and finite, got -1"):
        TauNormalisation(-1.0)
