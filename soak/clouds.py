"""Clouds whose figures are known, for `soak.geometry`: seven classes, two of 300 samples, two of 50 and three of 5."""

import math

import torch
from torch import Tensor

from tailwise.metrics import geometry, neighbours
from tailwise.metrics.bootstrap import Figure, gap_figure, sample_figure

Figures = dict[str, Figure]

COUNTS = [300, 300, 50, 50, 5, 5, 5]
CLASSES = len(COUNTS)
GROUP = {"many": [0, 1], "medium": [2, 3], "few": [4, 5, 6]}
TEST = 40
"""Test samples of each class."""
KAPPA = 12.0
TURN = 0.3
"""Radians from a class's mean in training to that in test, about the third axis."""
LEARNED, SEEN = 0.9, 0.7
"""Chance to be right on a training and on a test sample."""


def means(turn: float = 0.0) -> Tensor:
    """Mean directions (C, 3), turned about the third axis."""
    drawn = torch.randn(CLASSES, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    c, s = math.cos(turn), math.sin(turn)
    return drawn / drawn.norm(dim=1, keepdim=True) @ torch.tensor([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=torch.float64)


def von_mises_fisher(labels: Tensor, mean: Tensor, draw: torch.Generator) -> Tensor:
    """Directions (N, 3) about the means (C, 3) with concentration `KAPPA`; in 3-D the cosine's distribution can be inverted."""
    u = torch.rand(len(labels), generator=draw, dtype=torch.float64)
    cosine = 1 + (u + (1 - u) * math.exp(-2 * KAPPA)).log() / KAPPA
    own, noise = mean[labels], torch.randn(len(labels), 3, generator=draw, dtype=torch.float64)
    tangent = noise - (noise * own).sum(1, keepdim=True) * own
    return cosine[:, None] * own + (1 - cosine.square()).clamp(min=0).sqrt()[:, None] * tangent / tangent.norm(
        dim=1, keepdim=True
    )


def cloud(seed: int) -> Figures:
    """The figures of one draw: of the training samples those of spread and angles, between them and test samples the rest."""
    draw = torch.Generator().manual_seed(seed)
    y, t = torch.arange(CLASSES).repeat_interleave(torch.tensor(COUNTS)), torch.arange(CLASSES).repeat_interleave(TEST)
    x, z = von_mises_fisher(y, means(), draw), von_mises_fisher(t, means(TURN), draw)
    right, seen = (torch.rand(n, generator=draw) < p for n, p in ((len(y), LEARNED), (len(t), SEEN)))
    counts = torch.tensor(COUNTS)
    figures = geometry.spread(x, y, counts, seed=seed) | geometry.angles(x, y, counts, seed=seed)
    figures |= {"drift": geometry.drift(x, y, z, t, counts, seed=seed)["drift"]}
    return {
        **figures,
        **neighbours.nearest_mean(means(), torch.arange(CLASSES), counts, x, y, seed=seed),  # means that stay as they are
        "uniformity": neighbours.uniformity(x, y, counts, seed=seed),
        "recall": sample_figure(right.double(), y, counts, seed=seed),
        "gap": gap_figure(right.double(), y, seen.double(), t, counts, seed=seed),
    }


def known() -> dict[str, dict[str, float]]:
    """The truth of each figure by group: closed forms, and integration over many samples for margins and uniformity."""
    resultant = 1 / math.tanh(KAPPA) - 1 / KAPPA
    mu = resultant * means()
    centred = mu - mu.mean(0)
    cosine = centred @ centred.T / centred.norm(dim=1)[:, None] / centred.norm(dim=1)
    many = 40_000
    y = torch.arange(CLASSES).repeat_interleave(many)
    x, other = (von_mises_fisher(y, means(), torch.Generator().manual_seed(s)).view(CLASSES, many, 3) for s in (1, 2))
    scores = x @ means().T
    own = scores.diagonal(dim1=0, dim2=2).T
    rest = torch.stack([scores[c][:, [j for j in range(CLASSES) if j != c]].amax(1) for c in range(CLASSES)])
    margin = (own - rest).sort(1).values
    pairs = torch.stack([(-2 * (x - other[c]).square().sum(2)).exp().mean(1) for c in range(CLASSES)])
    truth: dict[str, dict[str, float]] = {}
    for group, rows in GROUP.items():
        c = torch.stack([cosine[a, [b for b in range(CLASSES) if b != a]] for a in rows])
        off = (c + 1 / (CLASSES - 1)).abs()
        figures = {
            "spread": 1 - resultant,
            "trace": 1 - resultant**2,
            "nc1": (1 - resultant**2) / float(centred.square().sum(1).mean()),
            "balancedness": float(c.std(correction=0)),
            "min_angle": math.degrees(math.acos(float(c.max()))),
            "simplex_max": float(off.max()),
            "simplex_rms": float(off.square().mean().sqrt()),
            "drift": float((1 - (means() * means(TURN)).sum(1))[rows].mean()),
            "nearest_mean": float((margin > 0).double().mean(1)[rows].mean()),
            "margin": float(margin[rows, many // 10].mean()),
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
    y = torch.arange(CLASSES).repeat_interleave(torch.tensor([500, 500, 100, 100, 30, 30, 30]))
    x = torch.randn(len(y), 8, generator=draw, dtype=torch.float64)
    if kind == "two lumps":
        x[:, 0] += 3.0 * (2 * torch.randint(0, 2, (len(y),), generator=draw) - 1)
    if kind == "heavy tails":
        x /= torch.randn(len(y), 3, generator=draw, dtype=torch.float64).square().mean(1, keepdim=True).sqrt()
    return x * torch.linspace(3, 0.5, 8, dtype=torch.float64), y
