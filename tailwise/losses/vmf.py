"""Von Mises–Fisher distributions on the unit sphere: density ∝ e^(κ μ·z) for unit vectors μ and z, concentration κ ≥ 0."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise import rng
from tailwise.kernels.bessel import log_scaled_bessel
from tailwise.losses.objective import full_precision

HIGHEST = 1e5
"""The largest concentration: that of a class of one sample, whose estimate is infinite (the authors' code)."""
START = 0.9
"""Resultant length that an unseen class is given (the authors' code)."""


def start_means(classes: int, dim: int) -> Tensor:
    """Mean vectors (C, p) float64 of length `START`, in random directions that depend on class and width alone."""
    draws = rng.uniform(dim, torch.arange(classes)[:, None], torch.arange(dim))
    return START * F.normalize(torch.special.ndtri(draws.clamp(min=2.0**-54)), dim=1)


def natural_parameters(means: Tensor) -> Tensor:
    """η = κ̂ μ (C, p) from mean vectors x̄ (C, p) of unit rows, with R = ‖x̄‖ ≤ 1, μ = x̄ / R and::

        κ̂ = min(R (p − R²) / (1 − R²), 10⁵)

    (Banerjee et al., JMLR 2005), near the maximum of the likelihood. The authors of ProCo have p R / (1 − R²), which is
    R³/(1 − R²) higher: 0.6 % for p = 128 and R = 0.9. Rows that cancel give the uniform distribution, η = 0; R = 1, or
    above it by rounding, gives the largest κ.
    """
    limits = torch.finfo(means.dtype)
    square = means.square().sum(1, keepdim=True)
    below = square.clamp(max=1 - limits.eps)
    factor = (means.shape[1] - below) / (1 - below)  # positive, where the width is 1 too
    return means * torch.minimum(factor, HIGHEST / square.sqrt().clamp(min=limits.tiny))


@full_precision
def log_expectation(rows: Tensor, natural: Tensor, temperature: float) -> Tensor:
    """log E[e^(z·z̃/τ)] over z̃ ~ vMF(μ_j, κ_j), for unit rows z (M, p) and natural parameters κ_j μ_j (C, p): (M, C).

    With C_p(κ) = (2π)^(p/2) I_{p/2−1}(κ) κ^(1−p/2), the integral of e^(κ μ·z) over the sphere::

        r_j = log C_p(κ̃_j) − log C_p(κ_j),     κ̃_j = ‖κ_j μ_j + z/τ‖

    Written in κ̃² = κ² + 1/τ² + 2κ μ·z/τ it takes one product of matrices, and its gradient exists where κ̃ = 0. In
    float64 inside, because it is a small difference of large numbers.
    """
    order = rows.shape[1] / 2 - 1
    natural = natural.double()
    square = natural.square().sum(1)
    shifted = square + temperature**-2 + 2 / temperature * (rows.double() @ natural.T)
    ratio = log_scaled_bessel(order, shifted) - log_scaled_bessel(order, square)
    return ratio.to(rows.dtype)
