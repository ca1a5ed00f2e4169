"""Clouds of features whose figures are known."""

import math

import torch
from torch import Tensor


def labelled(*sizes: int) -> Tensor:
    """Labels of classes with so many samples."""
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def gaussian(labels: Tensor, means: Tensor, deviation: float, seed: int = 0) -> Tensor:
    """Samples (N, D) about the means (C, D)."""
    noise = torch.randn(len(labels), means.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return means[labels] + deviation * noise


def von_mises_fisher(labels: Tensor, means: Tensor, kappa: float, seed: int = 0) -> Tensor:
    """Directions (N, 3) about the unit means (C, 3); exact, as the cosine's distribution function has an inverse in 3-D."""
    draw = torch.Generator().manual_seed(seed)
    u = torch.rand(len(labels), generator=draw, dtype=torch.float64)
    cosine = 1 + (u + (1 - u) * math.exp(-2 * kappa)).log() / kappa
    noise = torch.randn(len(labels), 3, generator=draw, dtype=torch.float64)
    mean = means[labels]
    tangent = noise - (noise * mean).sum(1, keepdim=True) * mean
    tangent = tangent / tangent.norm(dim=1, keepdim=True)
    return cosine[:, None] * mean + (1 - cosine.square()).clamp(min=0).sqrt()[:, None] * tangent


def directions(number: int, dim: int, seed: int = 0) -> Tensor:
    """Uniform on the sphere: (number, D)."""
    drawn = torch.randn(number, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn / drawn.norm(dim=1, keepdim=True)
