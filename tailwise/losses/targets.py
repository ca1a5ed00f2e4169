"""Points spread over the sphere: targets of the class means in targeted supervised contrast (Li et al., CVPR 2022)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise import rng

STEPS, BLOCK = 200, 512
TEMPERATURE = 0.07
RATE = 0.3
"""First step on the sphere, in radians; steps shrink to nothing."""


def simplex(classes: int, width: int) -> Tensor:
    """Vertices (C, width) float64 of a regular simplex about the origin: the best spread wherever width ≥ C − 1.

    Columns of the Helmert matrix, whose rows are orthonormal and orthogonal to the constant vector.
    """
    if classes == 1:
        return torch.eye(1, width, dtype=torch.float64)
    row = torch.arange(1, classes, dtype=torch.float64)
    helmert = torch.ones(classes - 1, classes, dtype=torch.float64).tril()
    helmert[:, 1:].diagonal().copy_(-row)
    vertices = F.normalize(helmert / (row * (row + 1)).sqrt()[:, None], dim=0).T
    return F.pad(vertices, (0, width - classes + 1))


@torch.no_grad()
def spread(classes: int, width: int, seed: int = 0) -> Tensor:
    """Unit rows (C, width) float64 that nearly minimise mean_i log Σ_{j≠i} e^{t_i · t_j / 0.07}; a function of the seed.

    Steps of shrinking length along the gradient, each point's normalised: as good after 200 steps as Adam after 2000.
    Of more than `BLOCK` points a random block moves at a time, so that the cost has a bound that does not grow with C.
    The authors' j = i adds a constant to every sum and hardly moves the minimum, but makes gradients tiny.
    """
    lots = rng.uniform(seed, torch.arange(classes)[:, None], torch.arange(2 * width))
    radius, angle = (-2 * torch.log1p(-lots[:, :width])).sqrt(), 2 * math.pi * lots[:, width:]
    points = F.normalize(radius * angle.cos(), dim=1)  # normal deviates (Box & Muller) have no preferred direction
    for step in range(STEPS):
        block = rng.permutation(classes, seed, step)[:BLOCK]
        rows = points[block]
        share = (rows @ rows.T / TEMPERATURE).fill_diagonal_(-torch.inf).softmax(1)
        slope = (share + share.T) @ rows
        slope = F.normalize(slope - (slope * rows).sum(1, keepdim=True) * rows, dim=1)
        points[block] = F.normalize(rows - RATE * (1 - step / STEPS) * slope, dim=1)
    return points
