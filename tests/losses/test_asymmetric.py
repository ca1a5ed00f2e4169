"""The asymmetric loss against its loop, its limits, and its slopes where a probability is 0 or 1."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, compare, normal
from torch.autograd import gradcheck

from tailwise.losses import asymmetric, binary_cross_entropy

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
