"""Clouds whose figures are known, for `soak.geometry`, in three dimensions with strong means and in 64 with weak ones."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tailwise.metrics import geometry, neighbours
from tailwise.metrics.bootstrap import Figure, gap_figure, sample_figure

Figures = dict[str, Figure]


class Kind(NamedTuple):
    """Directions of classes with so many training samples."""

    title: str
    sizes: tuple[int, ...]
    dim: int
    group: dict[str, list[int]]
    concentration: float
    """Of von Mises and Fisher's distribution in 3-D; else the mean's length, of a Gaussian with E|noise|² = 1."""


ROUND = Kind(
    "3-D, strong means",
    (300, 300, 50, 50, 5, 5, 5),
    3,
    {"all": [0, 1, 2, 3, 4, 5, 6], "many": [0, 1], "medium": [2, 3], "few": [4, 5, 6]},
    12.0,
)
WEAK = Kind(
    "64-D, weak means",
    (300, 200, 60, 40, 15, 15, 10),
    64,
    {"all": [0, 1, 2, 3, 4, 5, 6], "many": [0, 1], "medium": [2, 3], "few": [4, 5, 6]},
    0.35,
)
TEST = 40
"""Test samples of each class."""
TURN = 0.3
"""Radians from a class's mean in training to that in test, from the first axis to the second."""
LEARNED, SEEN = 0.97, 0.7
"""Chance to be right on a training and on a test sample."""
MANY = 20_000
"""Samples of each class behind a truth that has no closed form."""


def means(kind: Kind, turn: float = 0.0) -> Tensor:
    """Mean directions (C, D) within the first three axes, so that some are near, turned in the plane of the first two."""
    drawn = torch.zeros(len(kind.sizes), kind.dim, dtype=torch.float64)
    drawn[:, :3] = torch.randn(len(kind.sizes), 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    rotation, c, s = torch.eye(kind.dim, dtype=torch.float64), math.cos(turn), math.sin(turn)
    rotation[:2, :2] = torch.tensor([[c, s], [-s, c]])
    return drawn / drawn.norm(dim=1, keepdim=True) @ rotation


def drawn(kind: Kind, labels: Tensor, turn: float, draw: torch.Generator) -> Tensor:
    """Directions (N, D) about the means; in 3-D the cosine's distribution can be inverted."""
    own, noise = means(kind, turn)[labels], torch.randn(len(labels), kind.dim, generator=draw, dtype=torch.float64)
    if kind.dim > 3:
        x = kind.concentration * own + noise / kind.dim**0.5
        return x / x.norm(dim=1, keepdim=True)
    u = torch.rand(len(labels), generator=draw, dtype=torch.float64)
    cosine = 1 + (u + (1 - u) * math.exp(-2 * kind.concentration)).log() / kind.concentration
    tangent = noise - (noise * own).sum(1, keepdim=True) * own
    return cosine[:, None] * own + (1 - cosine.square()).clamp(min=0).sqrt()[:, None] * tangent / tangent.norm(
        dim=1, keepdim=True
    )


def labelled(kind: Kind, each: int = 0) -> Tensor:
    """Labels of the training samples, or of so many of each class."""
    sizes = torch.tensor(kind.sizes)
    return torch.arange(len(sizes)).repeat_interleave(torch.full_like(sizes, each) if each else sizes)


def cloud(kind: Kind, seed: int) -> Figures:
    """The figures of one draw: of the training samples those of spread and angles, between them and test samples the rest."""
    draw, counts = torch.Generator().manual_seed(seed), torch.tensor(kind.sizes)
    y, t = labelled(kind), labelled(kind, TEST)
    x, z = drawn(kind, y, 0.0, draw), drawn(kind, t, TURN, draw)
    right, seen = (torch.rand(n, generator=draw) < p for n, p in ((len(y), LEARNED), (len(t), SEEN)))
    figures = geometry.spread(x, y, counts, seed=seed) | geometry.angles(x, y, counts, seed=seed)
    figures |= {"drift": geometry.drift(x, y, z, t, counts, seed=seed)["drift"]}
    near = neighbours.nearest_mean(means(kind), torch.arange(len(counts)), counts, x, y, seed=seed)  # means that stay
    return {
        **figures,
        **near,
        "uniformity": neighbours.uniformity(x, y, counts, seed=seed),
        "recall": sample_figure(right.double(), y, counts, seed=seed, shares=True),
        "gap": gap_figure(right.double(), y, seen.double(), t, counts, seed=seed, shares=True),
    }


def known(kind: Kind) -> dict[str, dict[str, float]]:
    """The truth of each figure by group: closed forms for 3-D, and integration over many samples for the rest."""
    classes, y = len(kind.sizes), labelled(kind, MANY)
    x, other = (drawn(kind, y, 0.0, torch.Generator().manual_seed(s)).view(classes, MANY, -1) for s in (1, 2))
    # noise has every direction alike, so a mean lies along that of its class
    length = float((x * means(kind)[:, None]).sum(2).mean())
    mu = (1 / math.tanh(kind.concentration) - 1 / kind.concentration if kind.dim == 3 else length) * means(kind)
    resultant = float(mu[0].norm())
    centred = mu - mu.mean(0)
    cosine = centred @ centred.T / centred.norm(dim=1)[:, None] / centred.norm(dim=1)
    scores = x @ means(kind).T
    own = scores.diagonal(dim1=0, dim2=2).T
    rest = torch.stack([scores[c][:, [j for j in range(classes) if j != c]].amax(1) for c in range(classes)])
    margin = (own - rest).sort(1).values
    pairs = torch.stack([(-2 * (x - other[c]).square().sum(2)).exp().mean(1) for c in range(classes)])
    truth: dict[str, dict[str, float]] = {}
    for group, rows in kind.group.items():
        c = torch.stack([cosine[a, [b for b in range(classes) if b != a]] for a in rows])
        off = (c + 1 / (classes - 1)).abs()
        figures = {
            "spread": 1 - resultant,
            "trace": 1 - resultant**2,
            "nc1": (1 - resultant**2) / float(centred.square().sum(1).mean()),
            "balancedness": float(c.std(correction=0)),
            "min_angle": math.degrees(math.acos(float(c.max()))),
            "simplex_max": float(off.max()),
            "simplex_rms": float(off.square().mean().sqrt()),
            "drift": float((1 - (means(kind) * means(kind, TURN)).sum(1))[rows].mean()),
            "nearest_mean": float((margin > 0).double().mean(1)[rows].mean()),
            "margin": float(margin[[a for a in rows if kind.sizes[a] >= 10] or rows, MANY // 10].mean()),
            "uniformity": float(pairs[rows][:, rows].mean().log()),
            "recall": LEARNED,
            "gap": LEARNED - SEEN,
        }
        for name, value in figures.items():
            truth.setdefault(name, {})[group] = value
    return truth


def two_gaussians(distance: float, seed: int) -> tuple[Tensor, Tensor]:
    """600 samples of two classes in three dimensions, unit Gaussians whose means are so far apart."""
    y = torch.arange(2).repeat_interleave(300)
    x = torch.randn(600, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[:, 0] += distance * (y - 0.5)
    return x, y


def shaped(kind: str, seed: int) -> tuple[Tensor, Tensor]:
    """Seven classes of 500, 100 and 30 samples in 8-D: "Gaussian", "two lumps" or "heavy tails" (Student's t, 3)."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(7).repeat_interleave(torch.tensor([500, 500, 100, 100, 30, 30, 30]))
    x = torch.randn(len(y), 8, generator=draw, dtype=torch.float64)
    if kind == "two lumps":
        x[:, 0] += 3.0 * (2 * torch.randint(0, 2, (len(y),), generator=draw) - 1)
    if kind == "heavy tails":
        x /= torch.randn(len(y), 3, generator=draw, dtype=torch.float64).square().mean(1, keepdim=True).sqrt()
    return x * torch.linspace(3, 0.5, 8, dtype=torch.float64), y
