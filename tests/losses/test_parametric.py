"""The joint softmax of class logits and keys against loops, a golden value and its limits."""

from dataclasses import dataclass
from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import (
    F64,
    GOLDEN_COUNTS,
    GOLDEN_LABELS,
    GOLDEN_LOGITS,
    GOLDEN_ROWS,
    Contrast,
    Logits,
    compare,
    contrasts,
    logit_problems,
    normal,
    on_sphere,
)
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.counts import log_prior
from tailwise.losses.parametric import parametric_contrastive
from tailwise.types import IGNORE


def dot(a: Tensor, b: Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


@dataclass
class Options:
    alpha: float
    beta: float
    gamma: float
    supt: float
    smoothing: float

    def values(self, problem: Contrast, logits: Tensor, temperature: float) -> Tensor:
        return parametric_contrastive(
            logits, problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position,
            problem.log_prior, self.alpha, self.beta, self.gamma, self.supt, temperature, self.smoothing,
        )  # fmt: skip


@st.composite
def options(draw: st.DrawFn) -> Options:
    alpha, beta = draw(st.sampled_from([0.0, 0.05, 1.0])), draw(st.sampled_from([0.5, 1.0]))
    gamma, supt = draw(st.sampled_from([0.3, 1.0])), draw(st.sampled_from([1.0, 2.0]))
    return Options(alpha, beta, gamma, supt, draw(st.sampled_from([0.0, 0.1])))


def loop(problem: Contrast, logits: Tensor, given: Options) -> list[float | None]:
    """−Σ w log softmax / Σ w, entry by entry: class scores first, then every labelled key but the query itself."""
    classes, found = logits.shape[1], []
    for i, (anchor, y, itself) in enumerate(zip(problem.anchors, problem.labels, problem.position, strict=True)):
        if y == IGNORE:
            found.append(None)
            continue
        scores, shares, weights = [], [], []
        for c in range(classes):
            scores.append(float(logits[i, c] + problem.log_prior[c]) / given.supt)
            shares.append(1.0)
            others = given.smoothing / (classes - 1) if classes > 1 else 0.0
            weights.append(given.beta * ((1 - others * (classes - 1)) if c == y else others))
        for k, label in enumerate(problem.column_labels):
            if label != IGNORE and k != itself:
                scores.append(dot(anchor, problem.columns[k]) / problem.temperature)
                shares.append(given.gamma)
                weights.append(given.alpha if label == y else 0.0)
        every = log(sum(g * exp(s) for g, s in zip(shares, scores, strict=True)))
        found.append(sum(w * (every - s) for w, s in zip(weights, scores, strict=True)) / sum(weights))
    return found


@given(contrasts(), options())
def test_equals_the_loop(problem: Contrast, given: Options) -> None:
    logits = 3 * normal(problem.seed + 2, len(problem.position), len(problem.counts))
    compare(given.values(problem, logits, problem.temperature), loop(problem, logits, given))


def test_golden() -> None:
    logits = torch.tensor([[1, 0, -1], [0.5, 0.5, 0], [0, 1, 0]], dtype=F64)
    loss = parametric_contrastive(
        logits, GOLDEN_ROWS[:3], GOLDEN_LABELS[:3], GOLDEN_ROWS, GOLDEN_LABELS, torch.arange(3), log_prior(GOLDEN_COUNTS),
        alpha=0.05, beta=1.0, gamma=1.0, supt=1.0, temperature=0.2,
    )  # fmt: skip
    assert loss.mean().item() == pytest.approx(3.7441856809, rel=1e-6)


@given(logit_problems(), st.sampled_from([0.0, 0.2]))
def test_without_keys_it_is_logit_adjusted_cross_entropy(problem: Logits, smoothing: float) -> None:
    """torch's smoothing gives the own class a share of ε too."""
    classes, prior, values = len(problem.counts), log_prior(problem.counts), []
    rows, share = on_sphere(problem.seed, len(problem.labels), 3), smoothing * (classes - 1) / classes
    for i in range(len(rows)):  # alone, a query has no key but itself
        row, label, first = rows[i : i + 1], problem.labels[i : i + 1], torch.tensor([0])
        alone = problem.logits[i : i + 1], row, label, row, label, first, prior
        values.append(parametric_contrastive(*alone, smoothing=share))
    expected = F.cross_entropy(problem.logits + prior, problem.labels, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(torch.cat(values), expected)


@given(contrasts())
def test_with_equal_weights_a_class_logit_is_one_more_positive(problem: Contrast) -> None:
    """Logits that are similarities to centres, and no prior: supervised contrast with the centres among the keys."""
    labels, classes = problem.column_labels, len(problem.prototypes)
    centre_logits = problem.anchors @ problem.prototypes.T / problem.temperature
    found = parametric_contrastive(
        centre_logits, problem.anchors, problem.labels, problem.columns, labels, problem.position,
        torch.zeros(classes, dtype=F64), alpha=1.0, temperature=problem.temperature,
    )  # fmt: skip
    keys, every = torch.cat([problem.prototypes, problem.columns]), torch.cat([torch.arange(classes), labels])
    for i, y in enumerate(problem.labels):
        if y != IGNORE:
            kept = (every != IGNORE) & (torch.arange(len(every)) != problem.position[i] + classes)
            scores = (keys @ problem.anchors[i] / problem.temperature)[kept]
            torch.testing.assert_close(found[i], -scores.log_softmax(0)[every[kept] == y].mean())


def test_gradient() -> None:
    labels = torch.tensor([0, 0, 1, IGNORE, 2, 0])

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        values = parametric_contrastive(
            logits, rows[:4], labels[:4], rows, labels, torch.arange(4), log_prior(GOLDEN_COUNTS), 0.3, temperature=0.3
        )
        return values[labels[:4] != IGNORE]

    gradcheck(loss, (GOLDEN_LOGITS.clone().requires_grad_(), GOLDEN_ROWS.clone().requires_grad_()))


def test_unlabelled_keys_take_no_part() -> None:
    labels = torch.tensor([0, 0, IGNORE, 1, IGNORE, 2])
    rows, logits = GOLDEN_ROWS.clone().requires_grad_(), normal(0, 6, 3)
    values = parametric_contrastive(logits, rows, labels, rows, labels, torch.arange(6), log_prior(GOLDEN_COUNTS))
    values[labels != IGNORE].sum().backward()
    assert rows.grad is not None
    assert bool((rows.grad[labels == IGNORE] == 0).all())
