"""Rebalanced contrast: variants A, B and C against loops, and the identities that define them."""

import pytest
import torch
from hypothesis import given
from losses import slow
from losses.cases import F64, GOLDEN_LABELS, GOLDEN_ROWS, Contrast, compare, contrasts
from losses.test_bcl import fast
from tiny import Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.losses import BCL, RCL, RCLDenominator, RCLStandalone, balanced_contrastive, standalone_contrastive
from tailwise.losses.contrastive import Columns
from tailwise.types import IGNORE

EVERYONE = torch.arange(6)


def standalone(problem: Contrast) -> Tensor:
    return standalone_contrastive(
        problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position,
        problem.temperature, problem.log_prior,
    )  # fmt: skip


@given(contrasts())
def test_variant_a_equals_the_loop(problem: Contrast) -> None:
    expected = slow.balanced_contrastive(
        problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position,
        problem.prototypes, problem.temperature, problem.log_prior.exp().tolist(),
    )  # fmt: skip
    compare(fast(problem, problem.log_prior), expected)


@given(contrasts())
def test_variant_b_equals_the_loop(problem: Contrast) -> None:
    expected = slow.standalone_contrastive(
        problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position,
        problem.temperature, problem.log_prior.exp().tolist(),
    )  # fmt: skip
    compare(standalone(problem), expected)


@given(contrasts())
def test_a_uniform_prior_is_bcl(problem: Contrast) -> None:
    uniform = torch.full_like(problem.log_prior, 1 / len(problem.counts)).log()
    labelled = problem.labels != IGNORE
    torch.testing.assert_close(fast(problem, uniform)[labelled], fast(problem)[labelled], rtol=1e-10, atol=1e-10)


@given(contrasts())
def test_scaling_both_sides_is_a_temperature(problem: Contrast) -> None:
    gamma, labelled = 1.3, problem.labels != IGNORE
    scaled = balanced_contrastive(
        gamma * problem.anchors, problem.labels, gamma * problem.columns, problem.column_labels, problem.position,
        gamma * problem.prototypes, problem.temperature, problem.log_prior,
    )  # fmt: skip
    problem.temperature /= gamma**2
    torch.testing.assert_close(scaled[labelled], fast(problem, problem.log_prior)[labelled], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("temperature", "value"), [(0.1, 0.8191451229), (0.5, 1.0059593992)])
def test_variant_b_with_a_uniform_prior_is_supervised_contrast(temperature: float, value: float) -> None:
    uniform = torch.full((3,), 1 / 3, dtype=F64).log()
    loss = standalone_contrastive(GOLDEN_ROWS, GOLDEN_LABELS, GOLDEN_ROWS, GOLDEN_LABELS, EVERYONE, temperature, uniform)
    assert loss.mean().item() == pytest.approx(value, rel=1e-6)


def test_gradients() -> None:
    labels = torch.tensor([0, 0, 1, IGNORE, 2, 0])
    prior = torch.tensor([0.7, 0.2, 0.1], dtype=F64).log()
    rows, prototypes = GOLDEN_ROWS.clone().requires_grad_(), GOLDEN_ROWS[:3].clone().requires_grad_()
    labelled = labels != IGNORE

    def variant_a(rows: Tensor, prototypes: Tensor) -> Tensor:
        return balanced_contrastive(rows, labels, rows, labels, EVERYONE, prototypes, 0.3, prior)[labelled]

    def variant_b(rows: Tensor) -> Tensor:
        return standalone_contrastive(rows, labels, rows, labels, EVERYONE, 0.3, prior)[labelled]

    gradcheck(variant_a, (rows, prototypes))
    gradcheck(variant_b, rows)


def loss_and_gradient(cls: type[BCL], counts: list[int], **options: float) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(0)
    model = Rows(3)
    objective = cls(counts, model, **options).double()
    model.double()
    given_batch = batch("rows", 3, torch.tensor([0, 0, 1, 2, IGNORE, 1]))
    given_batch = given_batch._replace(views=given_batch.views.double())
    contrast = objective(model(given_batch.views), given_batch)["con"]
    contrast.backward()
    parameters = [*model.backbone.parameters(), model.head.weight, *objective.parameters()]
    return contrast.detach(), [p.grad for p in parameters if p.grad is not None]


@given(contrasts())
def test_the_objective_puts_the_prior_of_training_into_the_contrast(problem: Contrast) -> None:
    objective = RCL(problem.counts.clamp(min=1), Rows(len(problem.counts)), scale=0.8, temperature=0.1).double()
    rows = Columns(problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position)
    prior = objective.log_prior.exp().tolist()
    torch.testing.assert_close(objective.log_prior, problem.log_prior, rtol=1e-6, atol=1e-6)
    compare(
        objective.values(rows, problem.prototypes), slow.balanced_contrastive(*rows, problem.prototypes, 0.1 / 0.8**2, prior)
    )


def test_rcl_of_unit_scale_and_uniform_prior_is_bcl() -> None:
    torch.testing.assert_close(
        loss_and_gradient(RCL, [4, 4, 4], scale=1.0), loss_and_gradient(BCL, [4, 4, 4]), rtol=1e-6, atol=1e-7
    )


def test_scale_is_a_temperature_of_the_objective() -> None:
    torch.testing.assert_close(
        loss_and_gradient(RCL, [9, 3, 1], scale=0.5, temperature=0.1),
        loss_and_gradient(RCL, [9, 3, 1], scale=1.0, temperature=0.4),
    )


def test_variant_c_drops_the_prior_of_the_anchor_and_keeps_the_gradient() -> None:
    a, gradient_a = loss_and_gradient(RCL, [6, 3, 1])
    c, gradient_c = loss_and_gradient(RCLDenominator, [6, 3, 1])
    own = torch.tensor([0.6, 0.6, 0.3, 0.1, 0.3]).log().double().mean()
    torch.testing.assert_close(a - c, -0.35 * own, rtol=1e-6, atol=0)  # 0.35: the contrast's weight
    torch.testing.assert_close(gradient_a, gradient_c)


def test_variant_b_has_no_prototypes() -> None:
    objective = RCLStandalone([6, 3, 1], Rows(3))
    assert not any(name.startswith("prototypes") for name in objective.state_dict())
