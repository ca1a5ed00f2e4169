"""Random problems that hypothesis draws: shapes, counts and labels are its choice, values follow from a seed."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from tailwise.counts import log_prior
from tailwise.types import IGNORE

F64 = torch.float64


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def on_sphere(seed: int, *shape: int) -> Tensor:
    return torch.nn.functional.normalize(normal(seed, *shape), dim=-1)


def compare(fast: Tensor, slow: list[float | None] | list[float]) -> None:
    """Equal to float64 rounding wherever the slow version has a value."""
    kept = [i for i, value in enumerate(slow) if value is not None]
    assert fast.shape == (len(slow),)
    assert bool(fast.isfinite().all())
    torch.testing.assert_close(fast[kept], torch.tensor([slow[i] for i in kept], dtype=F64), rtol=1e-10, atol=1e-10)


@dataclass
class Contrast:
    """Columns with labels, of which the anchors are a contiguous share; prototypes, counts and a temperature."""

    columns: Tensor
    column_labels: Tensor
    position: Tensor
    prototypes: Tensor
    counts: Tensor
    temperature: float
    seed: int

    @property
    def anchors(self) -> Tensor:
        return self.columns[self.position]

    @property
    def labels(self) -> Tensor:
        return self.column_labels[self.position]

    @property
    def log_prior(self) -> Tensor:
        return log_prior(self.counts)


@st.composite
def contrasts(draw: st.DrawFn) -> Contrast:
    classes, rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(2, 4))
    labels = draw(st.lists(st.sampled_from([IGNORE, *range(classes)]), min_size=rows, max_size=rows))
    counts = draw(st.lists(st.integers(0, 1000), min_size=classes, max_size=classes))
    first = draw(st.integers(0, rows - 1))
    seed = draw(st.integers(0, 2**20))
    return Contrast(
        on_sphere(seed, rows, width),
        torch.tensor(labels),
        torch.arange(first, draw(st.integers(first + 1, rows))),
        on_sphere(seed + 1, classes, width),
        torch.tensor(counts),
        draw(st.sampled_from([0.05, 0.1, 0.5, 1.0])),
        seed,
    )


@dataclass
class Logits:
    logits: Tensor
    labels: Tensor
    counts: Tensor
    seed: int


@st.composite
def logit_problems(draw: st.DrawFn) -> Logits:
    classes, rows = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    counts = draw(st.lists(st.integers(1, 10**6), min_size=classes, max_size=classes))
    seed = draw(st.integers(0, 2**20))
    return Logits(3 * normal(seed, rows, classes), torch.tensor(labels), torch.tensor(counts), seed)


# The toy problem that published golden values are computed on: three classes, six rows.
GOLDEN_COUNTS = torch.tensor([100, 10, 2])
GOLDEN_LOGITS = torch.tensor([[2, -1, 0.5], [0.3, 0.8, -0.4], [-1.2, 0.1, 0.7], [0, 0, 0]], dtype=F64)
GOLDEN_LOGIT_LABELS = torch.tensor([0, 1, 2, 2])
GOLDEN_ROWS = torch.nn.functional.normalize(
    torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], dtype=F64), dim=1
)
GOLDEN_LABELS = torch.tensor([0, 0, 0, 1, 1, 2])
