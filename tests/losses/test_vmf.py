"""Expectations under von Mises–Fisher distributions against mpmath and draws; estimates of κ; limits."""

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, GOLDEN_ROWS, normal, on_sphere
from scipy.stats import vonmises_fisher
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.kernels.bessel import log_scaled_bessel
from tailwise.losses.vmf import HIGHEST, log_expectation, natural_parameters, start_means


def loop(rows: Tensor, natural: Tensor, temperature: float) -> Tensor:
    """log C_p(‖κμ + z/τ‖) − log C_p(κ), pair by pair, in thirty digits."""
    order = rows.shape[1] / 2 - 1

    def log_c(vector: list[mpmath.mpf]) -> mpmath.mpf:
        kappa = mpmath.norm(vector)
        return mpmath.log(mpmath.besseli(order, kappa)) - order * mpmath.log(kappa)

    with mpmath.workdps(30):
        found = [
            [
                float(log_c([mpmath.mpf(a) + mpmath.mpf(b) / temperature for a, b in zip(n, z, strict=True)]) - log_c(n))
                for n in natural.tolist()
            ]
            for z in rows.tolist()
        ]
    return torch.tensor(found, dtype=F64)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, Tensor, float]:
    seed, width = draw(st.integers(0, 2**20)), draw(st.sampled_from([2, 3, 4, 9, 128]))
    kappa = torch.tensor(draw(st.lists(st.sampled_from([0.01, 1.0, 20.0, 600.0, 1e5]), min_size=1, max_size=3)), dtype=F64)
    natural = kappa[:, None] * on_sphere(seed + 1, len(kappa), width)
    return on_sphere(seed, draw(st.integers(1, 3)), width), natural, draw(st.sampled_from([0.01, 0.07, 0.1, 1.0]))


@given(problems())
def test_equals_the_loop(problem: tuple[Tensor, Tensor, float]) -> None:
    torch.testing.assert_close(log_expectation(*problem), loop(*problem), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("row", "values"), [(1, (1.356455, 1.267449, 0.362438)), (5, (0.092387, 0.202351, 1.047686))])
def test_golden(row: int, values: tuple[float, ...]) -> None:
    natural = torch.tensor([20.0, 8.0, 3.0], dtype=F64)[:, None] * torch.eye(3, 4, dtype=F64)
    found = log_expectation(GOLDEN_ROWS[[row]], natural, 0.5)
    torch.testing.assert_close(found, torch.tensor([values], dtype=F64), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("width", "kappa", "temperature"), [(4, 3.0, 0.5), (8, 20.0, 0.5), (8, 50.0, 0.2), (32, 40.0, 1.0)])
def test_is_the_mean_over_draws(width: int, kappa: float, temperature: float) -> None:
    """Drawn by an independent sampler; the tolerance is four standard errors of the logarithm of the mean."""
    count, mean, rows = 40_000, on_sphere(1, width), on_sphere(2, 3, width)
    draws = torch.tensor(vonmises_fisher(mean.numpy(), kappa).rvs(count, random_state=width))
    terms = (rows @ draws.T / temperature).exp()
    error = terms.std(1) / terms.mean(1) / count**0.5
    found = log_expectation(rows, (kappa * mean)[None], temperature)[:, 0]
    assert bool((error < 0.05).all())
    assert bool(((found - terms.mean(1).log()).abs() < 4 * error).all())


def test_gradient() -> None:
    natural = torch.tensor([0.5, 30.0, 1e5], dtype=F64)[:, None] * on_sphere(1, 3, 4)
    gradcheck(lambda z: log_expectation(z, natural, 0.3), on_sphere(2, 2, 4).requires_grad_(), rtol=1e-4)


def test_the_gradient_is_the_mean_direction_of_the_shifted_distribution() -> None:
    """∂r/∂z = A_p(κ̃) (κμ + z/τ) / (κ̃ τ) along the sphere, by automatic differentiation through the norm."""
    rows, natural, temperature = on_sphere(1, 5, 6), 7 * on_sphere(2, 1, 6), 0.1
    raw, other = normal(3, 5, 6).requires_grad_(), normal(3, 5, 6).requires_grad_()
    unit, unit_other = (torch.nn.functional.normalize(x, dim=1) for x in (raw, other))
    log_expectation(unit, natural, temperature).sum().backward()
    norm = (natural + unit_other / temperature).norm(dim=1)
    log_scaled_bessel(rows.shape[1] / 2 - 1, norm.square()).sum().backward()
    torch.testing.assert_close(raw.grad, other.grad)


def test_a_class_opposite_to_the_row_may_cancel_it() -> None:
    """κ̃ = 0 where κ = 1/τ and z = −μ: value and gradient are those of the limit."""
    mean, temperature = on_sphere(1, 1, 4), 0.1
    rows = (-mean).requires_grad_()
    found = log_expectation(rows, mean / temperature, temperature)
    zero, full = torch.zeros(1, dtype=F64), torch.tensor([temperature**-2], dtype=F64)
    torch.testing.assert_close(found[0], log_scaled_bessel(1.0, zero) - log_scaled_bessel(1.0, full))
    found.sum().backward()
    assert rows.grad is not None
    assert bool(rows.grad.isfinite().all())
    along = (rows.grad @ mean.T) * mean
    torch.testing.assert_close(rows.grad - along, torch.zeros(1, 4, dtype=F64), rtol=0, atol=1e-9)


def test_a_certain_class_is_a_cosine_classifier() -> None:
    rows, means = on_sphere(1, 5, 8), on_sphere(2, 3, 8)
    torch.testing.assert_close(log_expectation(rows, 1e9 * means, 0.1), rows @ means.T / 0.1, rtol=0, atol=1e-5)


def test_a_spread_out_class_is_the_same_everywhere() -> None:
    spread = log_expectation(on_sphere(1, 5, 8), torch.zeros(2, 8, dtype=F64), 0.1)
    torch.testing.assert_close(spread, spread[0, 0].expand(5, 2))


def test_single_precision_loses_nothing_but_rounding() -> None:
    rows, natural = on_sphere(1, 5, 128).float(), natural_parameters(on_sphere(2, 3, 128).float())
    found = log_expectation(rows, natural, 0.1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, log_expectation(rows.double(), natural.double(), 0.1).float(), rtol=1e-6, atol=1e-6)


def test_half_precision_is_widened() -> None:
    rows, natural = on_sphere(1, 5, 128).bfloat16(), 100 * on_sphere(2, 3, 128)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = log_expectation(rows, natural, 0.1)
    torch.testing.assert_close(found, log_expectation(rows.float(), natural, 0.1), rtol=0, atol=0)


@pytest.mark.parametrize(("width", "length", "kappa"), [(128, 0.9, 602.48), (4, 0.0, 0.0), (8, 0.5, 7.75 * 0.5 / 0.75)])
def test_concentration(width: int, length: float, kappa: float) -> None:
    """602.48 is published for p = 128 and R = 0.9; (8 − ¼) ½ / ¾ is by hand."""
    mean = on_sphere(1, 1, width)
    torch.testing.assert_close(natural_parameters(length * mean), kappa * mean, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(("width", "kappa"), [(8, 4.0), (32, 100.0), (128, 602.08), (1024, 5000.0)])
def test_concentration_is_near_that_of_the_greatest_likelihood(width: int, kappa: float) -> None:
    """At which R = A_p(κ)."""
    square = torch.tensor([kappa**2], dtype=F64, requires_grad=True)
    log_scaled_bessel(width / 2 - 1, square).backward()
    assert square.grad is not None
    length = float(2 * kappa * square.grad)
    found = float(natural_parameters(length * on_sphere(1, 1, width)).norm())
    assert found == pytest.approx(kappa, rel=0.5 / width)
    assert abs(found - kappa) < abs(width * length / (1 - length**2) - kappa) / 2


@pytest.mark.parametrize("length", [1.0, 1 + 1e-7, 1 + 1e-3, 1 - 1e-9])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_concentration_has_a_highest_value(length: float, dtype: torch.dtype) -> None:
    mean = (length * on_sphere(1, 2, 128)).to(dtype)
    torch.testing.assert_close(natural_parameters(mean).norm(dim=1), torch.full((2,), HIGHEST, dtype=dtype))


@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 1 + 1e-7])
def test_concentration_on_a_line_is_finite(length: float) -> None:
    """Where the width is 1 numerator and denominator vanish together."""
    found = natural_parameters(torch.tensor([[length]], dtype=F64))
    assert 0 <= found.item() <= HIGHEST


def test_unseen_classes_start_in_fixed_random_directions() -> None:
    start = start_means(200, 16)
    torch.testing.assert_close(start.norm(dim=1), torch.full((200,), 0.9, dtype=F64))
    assert torch.equal(start[:7], start_means(7, 16))
    unit = start / 0.9
    assert float(unit.mean(0).norm()) < 0.2  # √(1/200) if uniform on the sphere
    off = (unit @ unit.T)[~torch.eye(200, dtype=torch.bool)]
    assert float(off.square().mean()) == pytest.approx(1 / 16, rel=0.05)
