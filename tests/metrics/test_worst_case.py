"""δ-worst-case accuracy against a general solver, and its two limits: the mean and the lowest recall."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from tailwise.metrics.worst_case import worst_case_accuracy
from tailwise.types import TailwiseError

RECALL = st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=1, max_size=5)


def solved(recall: list[float], delta: float, base: list[float]) -> float:
    """The convex programme as it is written, by sequential quadratic programming from the base itself."""
    r, u = np.array(recall), np.array(base) / sum(base)
    found = minimize(
        lambda g: g @ r,
        u,
        jac=lambda g: r,
        bounds=[(1e-9, 1)] * len(r),
        constraints=[
            {"type": "eq", "fun": lambda g: g.sum() - 1, "jac": lambda g: np.ones_like(g)},
            {"type": "ineq", "fun": lambda g: delta - g @ np.log(g / u), "jac": lambda g: -np.log(g / u) - 1},
        ],
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert found.status in (0, 8), found.message  # done, or so near that its line search finds no way down
    return float(found.fun)


@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")  # of the other solver, in old versions
@given(RECALL, st.sampled_from([0.05, 0.2, 0.9]), st.data())
def test_agrees_with_a_general_solver(recall: list[float], delta: float, data: st.DataObject) -> None:
    base = data.draw(st.lists(st.integers(1, 9).map(float), min_size=len(recall), max_size=len(recall)))
    found = worst_case_accuracy(torch.tensor(recall), delta, torch.tensor(base))
    assert found == pytest.approx(solved(recall, delta, base), abs=1e-5)


@given(RECALL)
def test_from_the_mean_to_the_worst(recall: list[float]) -> None:
    values = [worst_case_accuracy(torch.tensor(recall), delta) for delta in (0.0, 0.1, 0.5, math.log(len(recall)), math.inf)]
    assert values[0] == pytest.approx(sum(recall) / len(recall), abs=1e-6)
    assert values[-2:] == pytest.approx([min(recall)] * 2, abs=1e-6)
    assert all(a is not None and b is not None and a >= b - 1e-9 for a, b in pairwise(values))


def test_without_a_shift_it_is_the_mean_to_the_last_digits() -> None:
    recall = torch.tensor([0.3, 0.7, 0.9, 0.05], dtype=torch.float64)
    assert worst_case_accuracy(recall, 0.0) == pytest.approx(0.4875, abs=1e-15)
    assert worst_case_accuracy(recall, 0.0, torch.tensor([1, 1, 1, 5])) == pytest.approx(2.15 / 8, abs=1e-15)


def test_two_classes_by_hand() -> None:
    """Recalls 0 and 1: the worst case is 1 − g, where g log 2g + (1 − g) log 2(1 − g) = δ."""
    g = 0.8
    delta = g * math.log(2 * g) + (1 - g) * math.log(2 * (1 - g))
    assert worst_case_accuracy(torch.tensor([0.0, 1.0]), delta) == pytest.approx(1 - g, abs=1e-12)


def test_recalls_that_hardly_differ() -> None:
    assert worst_case_accuracy(torch.tensor([0.5, 0.5 + 1e-15], dtype=torch.float64), 0.3) == pytest.approx(0.5)


def test_undefined_recalls_and_empty_classes_are_left_out() -> None:
    recall = torch.tensor([0.5, math.nan, 0.25, 0.0])
    base = torch.tensor([1.0, 5.0, 1.0, 0.0])
    assert worst_case_accuracy(recall, 0.0, base) == pytest.approx(0.375, abs=1e-6)
    assert worst_case_accuracy(recall, 9.0, base) == pytest.approx(0.25)
    assert worst_case_accuracy(torch.tensor([math.nan]), 0.5) is None


def test_mistakes_are_named() -> None:
    with pytest.raises(TailwiseError, match="delta must not be negative, got -1"):
        worst_case_accuracy(torch.ones(2), -1)
    with pytest.raises(TailwiseError, match="delta must not be negative, got nan"):
        worst_case_accuracy(torch.ones(2), math.nan)
    for base in ([1.0], [1.0, -1.0], [1.0, math.inf]):
        with pytest.raises(TailwiseError, match="give a base weight, 0 or more, for each of 2 classes"):
            worst_case_accuracy(torch.ones(2), 0.5, torch.tensor(base))
