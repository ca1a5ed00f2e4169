"""Supervised contrast against loops, its golden values, and the geometry of its optimum with and without negative entries."""

from collections.abc import Callable
from dataclasses import replace
from math import exp, log

import pytest
import torch
from hypothesis import given
from losses.cases import F64, GOLDEN_LABELS, GOLDEN_ROWS, Contrast, compare, contrasts
from losses.slow import dot, mean
from tiny import Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.losses.heads import NonNegativeProjection, Projection
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.rcl import standalone_contrastive
from tailwise.losses.supcon import NonNegativeSupCon, SupCon, supervised_contrastive
from tailwise.types import IGNORE, TailwiseError

EVERYONE = torch.arange(6)


def slow(problem: Contrast, position: Tensor) -> list[float | None]:
    """The mean over positives of −log of their share among the columns without the anchor; None for IGNORE."""
    values: list[float | None] = []
    for z, y, own in zip(problem.anchors, problem.labels.tolist(), position.tolist(), strict=True):
        others = [(c, dot(z, problem.columns[k]) / problem.temperature) for k, c in enumerate(problem.column_labels.tolist())
                  if c != IGNORE and k != own]  # fmt: skip
        total = sum(exp(s) for _, s in others)
        shares = [-log(exp(s) / total) for c, s in others if c == y]
        values.append(None if y == IGNORE else mean(shares) if shares else 0.0)
    return values


def fast(problem: Contrast, position: Tensor) -> Tensor:
    return supervised_contrastive(
        problem.anchors, problem.labels, problem.columns, problem.column_labels, position, problem.temperature
    )


@given(contrasts())
def test_equals_the_loop(problem: Contrast) -> None:
    compare(fast(problem, problem.position), slow(problem, problem.position))


@given(contrasts())
def test_anchors_that_are_no_column_are_compared_with_all(problem: Contrast) -> None:
    nowhere = torch.full_like(problem.position, -1)
    compare(fast(problem, nowhere), slow(problem, nowhere))


@given(contrasts())
def test_labels_may_be_any_numbers(problem: Contrast) -> None:
    """Nothing is as long as there are classes."""
    far = replace(problem, column_labels=problem.column_labels + 10**12 * (problem.column_labels > 0))
    torch.testing.assert_close(fast(far, problem.position), fast(problem, problem.position))


@given(contrasts())
def test_a_uniform_prior_changes_nothing(problem: Contrast) -> None:
    uniform, labelled = torch.full_like(problem.log_prior, 0.25).log(), problem.labels != IGNORE
    standalone = standalone_contrastive(
        problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position,
        problem.temperature, uniform,
    )  # fmt: skip
    torch.testing.assert_close(standalone[labelled], fast(problem, problem.position)[labelled], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("temperature", "over_all", "over_anchors_with_positives"),
    [(0.1, 0.8191451229, 0.9829741475), (0.5, 1.0059593992, 1.2071512790)],
)
def test_golden(temperature: float, over_all: float, over_anchors_with_positives: float) -> None:
    values = supervised_contrastive(GOLDEN_ROWS, GOLDEN_LABELS, GOLDEN_ROWS, GOLDEN_LABELS, EVERYONE, temperature)
    assert values[5] == 0  # the only row of its class
    assert values.mean().item() == pytest.approx(over_all, rel=1e-6)
    assert values[:5].mean().item() == pytest.approx(over_anchors_with_positives, rel=1e-6)


def test_gradient_and_unlabelled_columns() -> None:
    labels = torch.tensor([0, 0, 1, IGNORE, 2, 0])
    rows = GOLDEN_ROWS.clone().requires_grad_()

    def loss(rows: Tensor) -> Tensor:
        return supervised_contrastive(rows, labels, rows, labels, EVERYONE, 0.3)[labels != IGNORE]

    gradcheck(loss, rows)
    loss(rows).sum().backward()
    assert rows.grad is not None
    assert (rows.grad != 0).any(1).tolist() == [True, True, True, False, True, True]


SIZES = torch.tensor([12, 6, 3, 2])
LABELS = torch.arange(4).repeat_interleave(SIZES)


def optimised(onto_sphere: Callable[[Tensor], Tensor], free: Tensor, steps: int = 250) -> tuple[float, Tensor]:
    """The least sum over anchors at T = 0.5 that free rows reach, and the cosines between class means."""
    free = free.clone().requires_grad_()
    optimizer = torch.optim.Adam([free], 0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        rows = onto_sphere(free)
        loss = supervised_contrastive(rows, LABELS, rows, LABELS, torch.arange(len(LABELS)), 0.5).sum()
        loss.backward()
        optimizer.step()
        schedule.step()
    means = torch.stack([onto_sphere(free.detach())[c == LABELS].mean(0) for c in range(len(SIZES))])
    unit = torch.nn.functional.normalize(means, dim=1)
    return loss.item(), unit @ unit.T


def positive_start() -> Tensor:
    return torch.rand(len(LABELS), 8, generator=torch.Generator().manual_seed(0), dtype=F64)


def test_without_negative_entries_the_optimum_is_an_orthogonal_frame() -> None:
    value, cosines = optimised(NonNegativeProjection(8, 8).onto_sphere, positive_start())
    total = sum(SIZES.tolist())
    closed_form = sum(n * log(n - 1 + (total - n) * exp(-1 / 0.5)) for n in SIZES.tolist())
    assert closed_form == pytest.approx(49.5647, abs=5e-5)
    assert value == pytest.approx(closed_form, abs=1e-4)
    torch.testing.assert_close(cosines, torch.eye(4, dtype=F64), rtol=0, atol=1e-2)


def test_with_negative_entries_rare_classes_crowd() -> None:
    value, cosines = optimised(Projection(8, 8).onto_sphere, positive_start())
    assert value == pytest.approx(45.7083, abs=1e-3)
    assert cosines[0, 1].item() == pytest.approx(-0.50, abs=0.01)
    assert cosines[2, 3].item() == pytest.approx(-0.06, abs=0.01)


def test_dead_rows_come_back() -> None:
    start = positive_start()
    start[[3, 22]] *= -1  # one of a frequent class and one of a rare one
    value, cosines = optimised(NonNegativeProjection(8, 8).onto_sphere, start)
    assert value == pytest.approx(49.5647, abs=1e-3)
    torch.testing.assert_close(cosines, torch.eye(4, dtype=F64), rtol=0, atol=0.05)


@pytest.mark.parametrize("cls", [SupCon, NonNegativeSupCon])
def test_the_first_view_is_classified_and_the_others_are_contrasted(cls: type[SupCon]) -> None:
    torch.manual_seed(0)
    model = Rows(3)
    objective = cls([5, 3, 1], model, classifier_weight=2.0, contrast_weight=0.5, temperature=0.2).eval()
    given_batch = batch("rows", 3, torch.tensor([0, 0, IGNORE, 1, 2]))
    out = model(given_batch.views)
    labelled = given_batch.labels != IGNORE
    rows = objective.projector(out.features[1:, labelled]).flatten(0, 1)
    labels = given_batch.labels[labelled].repeat(2)
    contrast = supervised_contrastive(rows, labels, rows, labels, torch.arange(8), 0.2)
    adjusted = logit_adjusted(out.logits[0, labelled], labels[:4], objective.log_prior)
    torch.testing.assert_close(objective(out, given_batch), {"cls": 2 * adjusted.mean(), "con": 0.5 * contrast.mean()})


def test_the_non_negative_form_is_wide_enough_for_its_frame() -> None:
    assert NonNegativeSupCon([1] * 20, Rows(20)).projector(torch.ones(2, 6)).shape == (2, 20)
    assert NonNegativeSupCon([1] * 2, Rows(2)).projector(torch.ones(2, 6)).shape == (2, 3)
    projector = NonNegativeSupCon([1] * 20, Rows(20), width=7, hidden=9).projector
    assert [tuple(p.shape) for p in projector.parameters() if p.ndim == 2] == [(9, 6), (7, 9)]
    assert bool((projector(torch.randn(50, 6)) >= 0).all())


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(TailwiseError, match="NonNegativeSupCon: temperature"):
        NonNegativeSupCon([5, 3, 1], Rows(3), temperature=0.0)
