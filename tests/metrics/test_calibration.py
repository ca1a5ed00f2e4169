"""Calibration against figures by hand, a plain loop and torchmetrics; top-k against scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from tailwise.metrics import ece, ece_by_group, ranks, reliability, top_k_accuracy
from tailwise.types import IGNORE, TailwiseError


def binary(top: list[float]) -> torch.Tensor:
    """Two-class probabilities whose class 0 has the given ones."""
    p = torch.tensor(top, dtype=torch.float64)
    return torch.stack([p, 1 - p], dim=1)


def within(logits: Tensor, labels: Tensor, k: int) -> float | None:
    return top_k_accuracy(ranks(logits, labels), labels, k)


def test_ece_by_hand() -> None:
    # bins of 0.2: (0.4, 0.6] holds 0.55; (0.6, 0.8] holds 0.7 and 0.8; (0.8, 1] holds 0.9 and 1.0
    probabilities = binary([0.55, 0.7, 0.8, 0.9, 1.0])
    labels = torch.tensor([1, 0, 1, 0, 0])
    bins = reliability(*probabilities.max(-1), labels, bins=5)
    assert bins.samples.tolist() == [0, 0, 1, 2, 2]
    torch.testing.assert_close(bins.confidence[2:], torch.tensor([0.55, 0.75, 0.95], dtype=torch.float64))
    torch.testing.assert_close(bins.accuracy[2:], torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    assert bins.confidence[:2].isnan().all()
    assert bins.accuracy[:2].isnan().all()
    assert ece(*probabilities.max(-1), labels, bins=5) == pytest.approx((0.55 + 2 * 0.25 + 2 * 0.05) / 5)


def test_a_bin_holds_its_upper_edge() -> None:
    top = torch.tensor([0.5, 0.75, 1.0])
    right = torch.zeros(3, dtype=torch.int64)
    assert reliability(top, right, right, bins=4).samples.tolist() == [0, 1, 1, 1]


@given(n=st.integers(1, 60), classes=st.integers(1, 6), bins=st.integers(1, 20), seed=st.integers(0, 999))
def test_ece_agrees_with_a_plain_loop(n: int, classes: int, bins: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(n, classes, generator=g, dtype=torch.float64)).softmax(-1)
    labels = torch.randint(classes, (n,), generator=g)
    expected = 0.0
    for b in range(bins):
        inside = [i for i in range(n) if b / bins < float(probabilities[i].max()) <= (b + 1) / bins]
        if inside:
            accuracy = np.mean([int(probabilities[i].argmax() == labels[i]) for i in inside])
            confidence = np.mean([float(probabilities[i].max()) for i in inside])
            expected += len(inside) / n * abs(accuracy - confidence)
    assert ece(*probabilities.max(-1), labels, bins) == pytest.approx(expected, abs=1e-9)


def test_ece_agrees_with_torchmetrics() -> None:
    g = torch.Generator().manual_seed(1)
    probabilities, labels = (2 * torch.randn(500, 7, generator=g)).softmax(-1), torch.randint(7, (500,), generator=g)
    theirs = multiclass_calibration_error(probabilities, labels, num_classes=7, n_bins=15, norm="l1")
    assert ece(*probabilities.max(-1), labels) == pytest.approx(float(theirs), abs=1e-6)


def test_groups_are_those_of_the_true_class() -> None:
    counts = torch.tensor([500, 5])
    probabilities = binary([0.9, 0.9, 0.2])  # the third sample is predicted as class 1
    labels = torch.tensor([0, 1, 0])
    found = ece_by_group(*probabilities.max(-1), labels, counts)
    assert found == {"many": pytest.approx((0.1 + 0.8) / 2), "medium": None, "few": pytest.approx(0.9)}


def test_ignored_samples_count_nowhere() -> None:
    probabilities, labels = binary([0.9, 0.6, 0.3]), torch.tensor([0, IGNORE, 1])
    top, kept = probabilities.max(-1), labels != IGNORE
    assert ece(*top, labels) == ece(*probabilities[kept].max(-1), labels[kept])
    assert ece_by_group(*top, labels, torch.tensor([500, 5]))["many"] == pytest.approx(0.1)
    assert within(probabilities, labels, 1) == 1.0
    nobody = torch.full((3,), IGNORE)
    assert ece(*top, nobody) is None
    assert within(probabilities, nobody, 1) is None


@given(n=st.integers(1, 40), classes=st.integers(3, 8), k=st.integers(1, 12), seed=st.integers(0, 999))
def test_top_k_agrees_with_sklearn(n: int, classes: int, k: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(n, classes, generator=g), torch.randint(classes, (n,), generator=g)
    found = within(logits, labels, k)
    if k >= classes:  # sklearn warns there that the score is trivially one
        assert found == 1.0
    else:
        theirs = top_k_accuracy_score(labels.numpy(), logits.numpy(), k=k, labels=range(classes))
        assert found == pytest.approx(theirs)


def test_top_one_is_argmax_also_for_equal_logits() -> None:
    logits, labels = torch.zeros(4, 4), torch.arange(4)
    assert ranks(logits, labels).tolist() == [0, 1, 2, 3]
    assert within(logits, labels, 1) == float((logits.argmax(1) == labels).double().mean()) == 0.25
    assert within(logits, labels, 3) == 0.75


def test_mistakes_are_named() -> None:
    one, zero = torch.ones(1), torch.zeros(1, dtype=torch.int64)
    for confidence in (2.0, -0.5, float("nan")):
        with pytest.raises(TailwiseError, match="softmax"):
            ece(confidence * one, zero, zero)
    with pytest.raises(TailwiseError, match="at least one bin"):
        ece(one, zero, zero, bins=0)
    with pytest.raises(TailwiseError, match="k must be at least 1"):
        top_k_accuracy(zero, zero, 0)
