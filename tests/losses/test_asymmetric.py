"""The asymmetric loss against its loop, its limits, and its slopes where a probability is 0 or 1."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, compare, normal
from tiny import Rows
from torch.autograd import gradcheck

from tailwise.losses import Asymmetric, asymmetric, binary_cross_entropy

OPTIONS = [(0.0, 4.0, 0.05), (1.0, 4.0, 0.05), (0.0, 0.0, 0.2), (2.0, 1.0, 0.0), (0.5, 0.5, 0.05)]


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 4), st.sampled_from(OPTIONS))
def test_equals_the_loop(seed: int, rows: int, classes: int, options: tuple[float, float, float]) -> None:
    logits, targets = 3 * normal(seed, rows, classes), (normal(seed + 1, rows, classes) > 0.3).to(F64)
    positive, negative, shift = options
    slow = []
    for f, y in zip(logits.tolist(), targets.tolist(), strict=True):
        value = 0.0
        for c in range(classes):
            p = 1 / (1 + exp(-f[c]))
            shifted = max(p - shift, 0.0)
            value -= y[c] * (1 - p) ** positive * log(p) + (1 - y[c]) * shifted**negative * log(1 - shifted)
        slow.append(value)
    compare(asymmetric(logits, targets, *options), slow)


@pytest.mark.parametrize(
    ("gamma_positive", "expected"),
    [(0.0, [0.337479928838790, 3.193618175905750]), (1.0, [0.135140827628742, 2.937238437559090])],
)
def test_equals_the_steps_of_the_authors_code(gamma_positive: float, expected: list[float]) -> None:
    """Their steps in 40 digits: 1 − p + m cut at 1, log of it, and (1 − it)^4. The last logit of row 0 lies below the shift."""
    logits = torch.tensor([[1.2, -0.7, 0.4, -4.0], [-1.5, 2.0, -3.0, -0.1]], dtype=F64)
    targets = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0]], dtype=F64)
    objective = Asymmetric([3, 3, 3, 3], Rows(4), gamma_positive)
    torch.testing.assert_close(objective.values(logits, targets), torch.tensor(expected, dtype=F64), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("positives", "bounded"), [(950, True), (962, True), (965, False), (1000, False)])
def test_a_class_of_nearly_all_samples_has_no_best_logit_and_carries_its_log_odds(positives: int, bounded: bool) -> None:
    f, negatives = torch.linspace(-5, 20, 2501, dtype=F64)[:, None], max(1000 - positives, 1)
    yes, no = (asymmetric(f, torch.full_like(f, y), 0.0, 4.0, 0.05) for y in (1.0, 0.0))
    loss = positives * yes + negatives * no
    assert bool((loss.diff() < 0).all()) is not bounded
    best = float(f[loss.argmin()]) if bounded else log(positives / negatives)
    carried = Asymmetric([positives, 10], Rows(2), samples=1000).carried_log_prior
    assert float(carried[0]) == pytest.approx(best, abs=0.01)


@given(st.integers(0, 99))
def test_without_focus_and_shift_it_is_binary_cross_entropy(seed: int) -> None:
    logits, targets = 9 * normal(seed, 4, 3), (normal(seed + 1, 4, 3) > 0).to(F64)
    torch.testing.assert_close(
        asymmetric(logits, targets, 0.0, 0.0, 0.0), binary_cross_entropy(logits, targets, torch.zeros(3))
    )


@pytest.mark.parametrize("options", OPTIONS)
def test_gradient(options: tuple[float, float, float]) -> None:
    logits, targets = normal(0, 4, 3).requires_grad_(), (normal(1, 4, 3) > 0).to(F64)
    gradcheck(lambda f: asymmetric(f, targets, *options), logits)


def test_easy_negatives_are_dropped() -> None:
    logits = torch.tensor([[-4.0], [-2.9]], dtype=F64).requires_grad_()  # probabilities of 0.018 and 0.052
    values = asymmetric(logits, torch.zeros(2, 1, dtype=F64), 0.0, 1.0, 0.05)
    values.sum().backward()
    assert logits.grad is not None
    assert values[0] == 0
    assert logits.grad[0] == 0
    assert values[1] > 0
    assert logits.grad[1] > 0


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("options", [*OPTIONS, (0.0, 0.3, 0.0), (0.3, 0.0, 0.0)])
def test_sure_predictions_have_finite_values_and_slopes(options: tuple[float, float, float], dtype: torch.dtype) -> None:
    away = torch.tensor([0.0, 5.0, 17.0, 40.0, 100.0, 1e4], dtype=dtype)
    logits = torch.cat([away, -away])[:, None].requires_grad_()
    for target in (0.0, 1.0):
        logits.grad = None
        values = asymmetric(logits, torch.full_like(logits, target), *options)
        (2.0**16 * values.sum()).backward()
        assert logits.grad is not None
        assert bool(values.isfinite().all())
        assert bool(logits.grad.isfinite().all())
