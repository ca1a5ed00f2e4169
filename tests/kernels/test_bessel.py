"""Scaled Bessel functions against mpmath, closed forms, Amos' bounds, and their limits."""

from math import lgamma, log, pi

import mpmath
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.kernels import bessel
from tailwise.kernels.bessel import log_scaled_bessel

F64 = torch.float64
DIMS = [4, 8, 32, 128, 1024]
KAPPA = torch.logspace(-2, 6, 25, dtype=F64)


def exact(order: float, kappa: Tensor) -> tuple[Tensor, Tensor]:
    """log(I_ν κ^−ν) and I_{ν+1} / I_ν to thirty digits."""
    with mpmath.workdps(30):
        rows = []
        for k in map(mpmath.mpf, kappa.tolist()):
            low, high = mpmath.besseli(order, k), mpmath.besseli(order + 1, k)
            rows.append([float(mpmath.log(low) - order * mpmath.log(k)), float(high / low)])
    logs, ratios = torch.tensor(rows, dtype=F64).T
    return logs, ratios


def slope(order: float, square: Tensor) -> Tensor:
    """d/dκ² by the function's own backward pass."""
    square = square.clone().requires_grad_()
    log_scaled_bessel(order, square).sum().backward()
    assert square.grad is not None
    return square.grad


def ratio(order: float, kappa: Tensor) -> Tensor:
    """I_{ν+1} / I_ν, which is 2κ times the slope."""
    return 2 * kappa * slope(order, kappa.square())


@pytest.mark.parametrize("dim", [2, 3, 5, *DIMS])
def test_equals_mpmath(dim: int) -> None:
    logs, ratios = exact(dim / 2 - 1, KAPPA)
    torch.testing.assert_close(log_scaled_bessel(dim / 2 - 1, KAPPA.square()), logs, rtol=1e-14, atol=1e-10)
    torch.testing.assert_close(ratio(dim / 2 - 1, KAPPA), ratios, rtol=5e-14, atol=0)


@pytest.mark.parametrize("order", [bessel.LOWEST - 1.5, bessel.LOWEST - 1.0, bessel.LOWEST - 0.5, bessel.LOWEST + 0.5])
def test_nothing_jumps_where_the_recurrence_begins(order: float) -> None:
    logs, ratios = exact(order, KAPPA)
    torch.testing.assert_close(log_scaled_bessel(order, KAPPA.square()), logs, rtol=1e-14, atol=1e-10)
    torch.testing.assert_close(ratio(order, KAPPA), ratios, rtol=3e-11, atol=0)


@pytest.mark.parametrize("dim", DIMS)
def test_the_ratio_lies_within_amos_bounds(dim: int) -> None:
    order, found = dim / 2 - 1, ratio(dim / 2 - 1, KAPPA)
    below = KAPPA / (order + 0.5 + (KAPPA.square() + (order + 1.5) ** 2).sqrt())
    above = KAPPA / (order + 0.5 + (KAPPA.square() + (order + 0.5) ** 2).sqrt())
    assert bool((below <= found * (1 + 1e-14)).all())
    assert bool((found <= above * (1 + 1e-14)).all())
    assert bool((found < 1).all())


def test_three_dimensions_have_a_closed_form() -> None:
    """C_3(κ) = 4π sinh(κ) / κ."""
    kappa = torch.tensor([0.1, 1.0, 20.0], dtype=F64)
    torch.testing.assert_close(1.5 * log(2 * pi) + log_scaled_bessel(0.5, kappa**2), (4 * pi * kappa.sinh() / kappa).log())


def test_one_dimension_has_a_closed_form() -> None:
    """Two points: C_1(κ) = 2 cosh κ, with slope tanh κ."""
    kappa = torch.tensor([0.1, 1.0, 20.0], dtype=F64)
    torch.testing.assert_close(0.5 * log(2 * pi) + log_scaled_bessel(-0.5, kappa**2), (2 * kappa.cosh()).log())
    torch.testing.assert_close(ratio(-0.5, kappa), kappa.tanh())


@pytest.mark.parametrize("dim", [1, *DIMS])
def test_at_zero_it_is_the_limit(dim: int) -> None:
    order, zero = dim / 2 - 1, torch.zeros(1, dtype=F64)
    expected = torch.tensor([-order * log(2) - lgamma(order + 1)], dtype=F64)
    torch.testing.assert_close(log_scaled_bessel(order, zero), expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(slope(order, zero), torch.tensor([0.5 / dim], dtype=F64), rtol=1e-13, atol=0)


def test_a_square_below_zero_by_rounding_is_zero() -> None:
    square = torch.tensor([-1e-10], dtype=F64)
    torch.testing.assert_close(log_scaled_bessel(1.0, square), log_scaled_bessel(1.0, square.abs()), rtol=0, atol=1e-10)
    torch.testing.assert_close(slope(1.0, square), torch.tensor([0.125], dtype=F64))


@pytest.mark.parametrize("dim", [1, *DIMS])
def test_far_below_zero_too(dim: int) -> None:
    """Rows of float32 whose length is off by 1e-7, of a sharp class at a cold temperature, cancel to that."""
    order, square, zero = dim / 2 - 1, torch.tensor([-20.0, -1e4], dtype=F64), torch.zeros(2, dtype=F64)
    assert torch.equal(log_scaled_bessel(order, square), log_scaled_bessel(order, zero))
    assert torch.equal(slope(order, square), slope(order, zero))


@pytest.mark.parametrize("dim", DIMS)
def test_at_a_billion_it_is_the_other_limit(dim: int) -> None:
    """I_ν(κ) → e^κ / √(2πκ) (1 − (4ν² − 1) / 8κ)."""
    order, kappa = dim / 2 - 1, torch.tensor([1e9], dtype=F64)
    scaled = log_scaled_bessel(order, kappa**2) + (order + 0.5) * kappa.log() + 0.5 * log(2 * pi) - kappa
    torch.testing.assert_close(scaled, -(4 * order**2 - 1) / 8 / kappa, rtol=0, atol=1e-6)
    torch.testing.assert_close(ratio(order, kappa), 1 - (2 * order + 1) / 2 / kappa, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dim", [4, 128])
def test_gradient(dim: int) -> None:
    square = torch.tensor([0.01, 1.0, 30.0, 400.0], dtype=F64, requires_grad=True)
    gradcheck(lambda s: log_scaled_bessel(dim / 2 - 1, s), square)


def test_single_precision_in_single_precision_out() -> None:
    square = torch.tensor([[0.0, 3.0], [12345.0, 1e18]], requires_grad=True)
    value = log_scaled_bessel(63.0, square)
    assert (value.dtype, value.shape) == (torch.float32, (2, 2))
    assert torch.equal(value, log_scaled_bessel(63.0, square.detach().double()).float())
    value.sum().backward()
    assert square.grad is not None
    assert square.grad.dtype == torch.float32
    assert bool((square.grad > 0).all())


def test_the_polynomials_are_the_printed_ones() -> None:
    """Olver's u_1, u_2, u_3 as printed (DLMF 10.41.10)."""
    printed = [
        (24, {1: 3, 3: -5}),
        (1152, {2: 81, 4: -462, 6: 385}),
        (414720, {3: 30375, 5: -369603, 7: 765765, 9: -425425}),
    ]
    for found, (scale, whole) in zip(bessel._debye()[1:], printed, strict=False):
        assert {power: c * scale for power, c in found.items()} == whole


def test_low_orders_are_reached_by_recurrence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the expansion alone is off by a hundredth at ν = 1."""
    good = log_scaled_bessel(1.0, KAPPA.square())
    monkeypatch.setattr(bessel, "LOWEST", 1)
    assert float((log_scaled_bessel(1.0, KAPPA.square()) - good).abs().max()) > 1e-5
