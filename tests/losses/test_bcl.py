"""Balanced contrast against equation 9 in loops, golden values, its gradient and its lower bound."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from losses import slow
from losses.cases import F64, GOLDEN_LABELS, GOLDEN_ROWS, Contrast, compare, contrasts
from tiny import DIM, Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.losses import BCL, balanced_contrastive, logit_adjusted
from tailwise.types import IGNORE


def fast(problem: Contrast, log_prior: Tensor | None = None) -> Tensor:
    return balanced_contrastive(
        problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position,
        problem.prototypes, problem.temperature, log_prior,
    )  # fmt: skip


@given(contrasts())
def test_equals_equation_9(problem: Contrast) -> None:
    uniform = [1.0] * len(problem.prototypes)
    expected = slow.balanced_contrastive(
        problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position,
        problem.prototypes, problem.temperature, uniform,
    )  # fmt: skip
    compare(fast(problem), expected)


@pytest.mark.parametrize(("temperature", "value"), [(0.1, 0.7277198625), (0.5, 0.6491060701)])
def test_golden(temperature: float, value: float) -> None:
    prototypes, everyone = torch.eye(3, 4, dtype=F64), torch.arange(6)
    loss = balanced_contrastive(GOLDEN_ROWS, GOLDEN_LABELS, GOLDEN_ROWS, GOLDEN_LABELS, everyone, prototypes, temperature)
    assert loss.mean().item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("classes", "temperature"), [(2, 0.5), (4, 0.1), (7, 1.0)])
def test_collapse_onto_a_simplex_reaches_the_bound(classes: int, temperature: float) -> None:
    centred = torch.eye(classes, dtype=F64) - 1 / classes
    vertices = torch.nn.functional.normalize(centred, dim=1)
    labels = torch.arange(classes).repeat_interleave(torch.arange(classes) + 1)  # every class, unequally often
    rows = vertices[labels]
    loss = balanced_contrastive(rows, labels, rows, labels, torch.arange(len(labels)), vertices, temperature)
    bound = log(1 + (classes - 1) * exp(-classes / ((classes - 1) * temperature)))
    torch.testing.assert_close(loss, torch.full_like(loss, bound), rtol=1e-9, atol=1e-12)


@given(contrasts())
def test_is_never_negative(problem: Contrast) -> None:
    assert bool((fast(problem)[problem.labels != IGNORE] > -1e-12).all())


def test_gradient() -> None:
    labels = torch.tensor([0, 0, 1, IGNORE, 2, 0])
    rows, prototypes = GOLDEN_ROWS.clone().requires_grad_(), GOLDEN_ROWS[:4].clone().requires_grad_()

    def loss(rows: Tensor, prototypes: Tensor) -> Tensor:
        values = balanced_contrastive(rows, labels, rows, labels, torch.arange(6), prototypes, 0.3)
        return values[labels != IGNORE]

    gradcheck(loss, (rows, prototypes))


def test_unlabelled_columns_take_no_part() -> None:
    labels = torch.tensor([0, 0, IGNORE, 1, IGNORE, 2])
    rows = GOLDEN_ROWS.clone().requires_grad_()
    values = balanced_contrastive(rows, labels, rows, labels, torch.arange(6), GOLDEN_ROWS[:3], 0.3)
    values[labels != IGNORE].sum().backward()
    assert rows.grad is not None
    assert bool((rows.grad[labels == IGNORE] == 0).all())


def test_the_contrast_trains_the_classifier() -> None:
    model = Rows(3)
    objective = BCL([5, 3, 1], model, classifier_weight=0.0)
    given_batch = batch("rows", 3, torch.tensor([0, 0, 1, 2]))
    sum(objective(model(given_batch.views), given_batch).values()).backward()
    assert model.head.weight.grad is not None
    assert bool((model.head.weight.grad != 0).any())


def test_only_the_first_view_is_classified_and_only_the_others_contrasted() -> None:
    model = Rows(3)
    objective = BCL([5, 3, 1], model, classifier_weight=2.0).eval()
    given_batch = batch("rows", 3, torch.tensor([0, 0, 1, 2]))
    out = model(given_batch.views)
    out.features.retain_grad()
    out.logits.retain_grad()
    terms = objective(out, given_batch)
    expected = 2 * logit_adjusted(out.logits[0], given_batch.labels, objective.log_prior).mean()
    torch.testing.assert_close(terms["cls"], expected)
    terms["con"].backward()
    assert out.logits.grad is None
    assert bool((out.features.grad[0] == 0).all())
    assert bool((out.features.grad[1:] != 0).any())


def test_head_widths() -> None:
    objective = BCL([5, 3, 1], Rows(3), width=7, hidden=11)
    assert [tuple(p.shape) for p in objective.projector.parameters() if p.ndim == 2] == [(11, DIM), (7, 11)]
    assert objective.prototypes(torch.ones(3, DIM)).shape == (3, 7)
