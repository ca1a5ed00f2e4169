"""The four embedding terms against loops, their golden values and gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses import slow
from losses.cases import GOLDEN_COUNTS, GOLDEN_LABELS, GOLDEN_ROWS, Contrast, compare, contrasts, on_sphere
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.losses import CentreSpread, LogTriplet, PairHinge, WeightedSupCon, embedding_spread
from tailwise.losses.elm import rarity_weights
from tailwise.losses.embedding import EmbeddingTerm
from tailwise.types import IGNORE

EVERYONE = torch.arange(6)


def fast(term: EmbeddingTerm, problem: Contrast) -> Tensor:
    return embedding_spread(
        term, problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position,
        problem.counts, torch.ones(len(problem.counts)),
    )  # fmt: skip


def spread(problem: Contrast) -> slow.Spread:
    return problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position, problem.counts


@given(contrasts(), st.sampled_from([1.0, 2.0]), st.sampled_from([0.0, 0.25]))
def test_pair_hinge(problem: Contrast, power: float, shrink: float) -> None:
    term = PairHinge(inner=0.4, outer=1.3, power=power, shrink=shrink)
    compare(fast(term, problem), slow.pair_hinge(spread(problem), 0.4, 1.3, power, shrink))


@given(contrasts(), st.sampled_from([0.0, 1.0]))
def test_log_triplet(problem: Contrast, tau: float) -> None:
    compare(fast(LogTriplet(problem.temperature, tau), problem), slow.log_triplet(spread(problem), problem.temperature, tau))


@given(contrasts())
def test_weighted_supervised_contrast(problem: Contrast) -> None:
    expected = slow.supervised_contrast(spread(problem), problem.temperature)
    compare(fast(WeightedSupCon(problem.temperature), problem), expected)


@given(contrasts())
def test_centre_spread(problem: Contrast) -> None:
    compare(fast(CentreSpread(), problem), slow.centre_spread(spread(problem)))


def golden(term: EmbeddingTerm) -> Tensor:
    return embedding_spread(
        term, GOLDEN_ROWS, GOLDEN_LABELS, GOLDEN_ROWS, GOLDEN_LABELS, EVERYONE, GOLDEN_COUNTS, torch.ones(3)
    )


@pytest.mark.parametrize(
    ("term", "plain", "weighted"),
    [
        (PairHinge(shrink=0), 0.360833909, 0.495834318),
        (PairHinge(shrink=0, power=2), 0.118645573, 0.151545263),
        (LogTriplet(0.1), 0.534520379, 0.691975548),
        (LogTriplet(0.5), 0.835356948, 1.244174741),
        (LogTriplet(0.5, tau=1), 0.992564686, 2.309758963),
        (WeightedSupCon(0.1), 0.819145123, 0.910669957),
        (CentreSpread(), 0.169458474, 0.211307755),
    ],
)
def test_golden(term: EmbeddingTerm, plain: float, weighted: float) -> None:
    omega = golden(term)
    assert omega.mean().item() == pytest.approx(plain, rel=1e-6)
    assert (omega * rarity_weights(GOLDEN_COUNTS, 0.5)[GOLDEN_LABELS]).mean().item() == pytest.approx(weighted, rel=1e-6)


def test_supervised_contrast_over_anchors_with_positives() -> None:
    for temperature, value in ((0.1, 0.9829741475), (0.5, 1.2071512790)):
        assert golden(WeightedSupCon(temperature))[:5].mean().item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("term", [PairHinge(), PairHinge(power=2), LogTriplet(0.3, 1.0), WeightedSupCon(0.3)])
def test_gradient(term: EmbeddingTerm) -> None:
    labels = torch.tensor([0, 0, 1, IGNORE, 1, 2])
    rows, weights = on_sphere(3, 6, 4).requires_grad_(), rarity_weights(GOLDEN_COUNTS, 0.5)
    gradcheck(
        lambda z: embedding_spread(term, z, labels, z, labels, EVERYONE, GOLDEN_COUNTS, weights),
        rows,
    )


def test_centres_are_outside_the_graph() -> None:
    anchors, keys = on_sphere(3, 6, 4).requires_grad_(), on_sphere(3, 6, 4).requires_grad_()

    def term(z: Tensor, k: Tensor) -> Tensor:
        return embedding_spread(CentreSpread(), z, GOLDEN_LABELS, k, GOLDEN_LABELS, EVERYONE, GOLDEN_COUNTS, torch.ones(3))

    gradcheck(lambda z: term(z, keys.detach()), anchors)
    term(anchors, keys).sum().backward()
    assert keys.grad is None


def test_hinge_is_zero_inside_its_radii() -> None:
    close = torch.tensor([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    omega = embedding_spread(PairHinge(), close, labels, close, labels, torch.arange(4), torch.tensor([5, 5]), torch.ones(2))
    assert omega.tolist() == [0, 0, 0, 0]


def test_one_negative_is_the_logistic_triplet_loss() -> None:
    rows, labels = GOLDEN_ROWS[[0, 1, 3]], torch.tensor([0, 0, 1])
    omega = embedding_spread(LogTriplet(0.2), rows, labels, rows, labels, torch.arange(3), torch.tensor([2, 1]), torch.ones(2))
    gap = (rows[0] @ rows[2] - rows[0] @ rows[1]) / 0.2
    torch.testing.assert_close(omega[0], torch.nn.functional.softplus(gap))


@pytest.mark.parametrize("term", [PairHinge(), LogTriplet(), WeightedSupCon(), CentreSpread(), LogTriplet(0.01)])
def test_equal_rows_have_finite_gradients(term: EmbeddingTerm) -> None:
    rows = torch.ones(4, 3, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 2])
    embedding_spread(term, rows, labels, rows, labels, torch.arange(4), GOLDEN_COUNTS, torch.ones(3)).sum().backward()
    assert rows.grad is not None
    assert bool(rows.grad.isfinite().all())
