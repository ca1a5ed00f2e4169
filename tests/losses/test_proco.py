"""Probabilistic contrast: its loop, golden values and limits; what the class measures, and when."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, GOLDEN_COUNTS, GOLDEN_ROWS, compare, normal, on_sphere
from tiny import DIM, MODELS, Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.counts import log_prior
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.proco import ProCo, probabilistic_contrastive
from tailwise.losses.samples import Balanced
from tailwise.losses.vmf import log_expectation, natural_parameters, start_means
from tailwise.types import IGNORE, Batch, TailwiseError


def loop(rows: Tensor, labels: Tensor, natural: Tensor, temperature: float, counts: Tensor) -> list[float]:
    """−log of π_y C(κ̃_y)/C(κ_y) over the sum of all classes, with C_3(κ) = 4π sinh(κ) / κ."""

    def c3(vector: Tensor) -> float:
        kappa = vector.norm().item()
        return (exp(kappa) - exp(-kappa)) / kappa

    found = []
    for z, y in zip(rows, labels.tolist(), strict=True):
        terms = [int(n) * c3(m + z / temperature) / c3(m) for n, m in zip(counts, natural, strict=True)]
        found.append(-log(terms[y] / sum(terms)))
    return found


@given(st.integers(0, 2**20), st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.05, 0.1, 1.0]))
def test_equals_the_loop(seed: int, rows: int, classes: int, temperature: float) -> None:
    counts = torch.arange(classes) ** 3 + 1
    natural = (1 + 20 * torch.rand(classes, 1, generator=torch.Generator().manual_seed(seed))) * on_sphere(seed, classes, 3)
    z, labels = on_sphere(seed + 1, rows, 3), torch.arange(rows) % classes
    values = probabilistic_contrastive(z, labels, natural, temperature, log_prior(counts))
    compare(values, loop(z, labels, natural, temperature, counts))


@pytest.mark.parametrize(("row", "label", "value"), [(1, 0, 0.0942966908), (5, 2, 3.1082532958)])
def test_golden(row: int, label: int, value: float) -> None:
    natural = torch.tensor([20.0, 8.0, 3.0], dtype=F64)[:, None] * torch.eye(3, 4, dtype=F64)
    loss = probabilistic_contrastive(GOLDEN_ROWS[[row]], torch.tensor([label]), natural, 0.5, log_prior(GOLDEN_COUNTS))
    assert loss.item() == pytest.approx(value, rel=1e-6)


LABELS = torch.tensor([0, 1, 2, 2, 0])
PRIOR = log_prior(GOLDEN_COUNTS)


def test_certain_classes_are_a_logit_adjusted_cosine_classifier() -> None:
    rows, means = on_sphere(1, 5, 8), on_sphere(2, 3, 8)
    found = probabilistic_contrastive(rows, LABELS, 1e9 * means, 0.2, PRIOR)
    torch.testing.assert_close(found, logit_adjusted(rows @ means.T / 0.2, LABELS, PRIOR), rtol=0, atol=1e-5)


def test_spread_out_classes_leave_the_prior() -> None:
    found = probabilistic_contrastive(on_sphere(1, 5, 8), LABELS, torch.zeros(3, 8, dtype=F64), 0.2, PRIOR)
    torch.testing.assert_close(found, -PRIOR[LABELS])


def test_gradient() -> None:
    natural = torch.tensor([20.0, 8.0, 3.0], dtype=F64)[:, None] * on_sphere(1, 3, 4)
    gradcheck(lambda z: probabilistic_contrastive(z, LABELS, natural, 0.3, PRIOR), on_sphere(2, 5, 4).requires_grad_())


def test_many_classes_need_no_row_for_each_pair() -> None:
    """Rows times classes times width would be 1 GB here."""
    rows, natural = on_sphere(1, 32, 512).float().requires_grad_(), natural_parameters(0.9 * on_sphere(2, 8142, 512))
    with torch.autograd.graph.saved_tensors_hooks(lambda x: seen.append(x.numel()) or x, lambda x: x):
        seen: list[int] = []
        loss = probabilistic_contrastive(rows, torch.zeros(32).long(), natural, 0.1, torch.zeros(8142))
    loss.sum().backward()
    assert max(seen) <= 8142 * 512
    assert rows.grad is not None
    assert bool(rows.grad.isfinite().all())


def projected(objective: ProCo, model: Rows, given_batch: Batch) -> Tensor:
    """Rows (2, B, p) of the second and third view."""
    return objective.projector(model(given_batch.views).features[1:])


def made(classes: int = 3, **options: float) -> tuple[Rows, ProCo]:
    """Without batch statistics, so that a row does not depend on its batch."""
    torch.manual_seed(0)
    model = Rows(classes)
    objective = ProCo([60, 3, 1, 1][:classes], model, **options)
    objective.projector.layers[1] = torch.nn.Identity()
    return model, objective


def test_means_are_those_of_the_second_and_third_view_and_include_the_step() -> None:
    model, objective = made(temperature=0.2, classifier_weight=3.0, contrast_weight=0.5)
    given_batch = batch("rows", 3, torch.tensor([0, 1, IGNORE, 0]))
    out, rows = model(given_batch.views), projected(objective, model, given_batch)
    terms = objective(out, given_batch)
    means = torch.stack([rows[:, [0, 3]].flatten(0, 1).mean(0), rows[:, 1].mean(0), start_means(3, 128)[2].float()]).detach()
    torch.testing.assert_close(objective.means.read().float(), means)
    natural, labelled = natural_parameters(objective.means.read()), [0, 1, 3]
    scores = log_expectation(rows[:, labelled].flatten(0, 1), natural, 0.2)
    labels = given_batch.labels[labelled]
    expected = {
        "cls": 3 * logit_adjusted(out.logits[0, labelled], labels, objective.log_prior).mean(),
        "con": 0.5 * logit_adjusted(scores, labels.repeat(2), objective.log_prior).mean(),
    }
    torch.testing.assert_close(terms, expected)
    assert not objective.means.read().requires_grad


def test_gradients_reach_the_rows_alone() -> None:
    """The means count as constants: the gradient is that of an objective which learns nothing from the step."""
    model, objective = made(classifier_weight=0.0)
    given_batch = batch("rows", 3, torch.tensor([0, 1, 2, 0]))
    gradients = []
    for mode in (True, False):  # the second time with the means of the first
        model.zero_grad()
        objective.train(mode)(model(given_batch.views), given_batch)["con"].backward()
        gradients.append(model.backbone.weight.grad.clone())
    torch.testing.assert_close(*gradients)
    assert bool((gradients[0] != 0).any())


def test_an_epoch_uses_the_one_before_and_its_own() -> None:
    model, objective = made()
    given = [batch("rows", 3, torch.tensor([0, 1, 2, 0]), seed) for seed in range(3)]
    rows = []
    for epoch, one in enumerate(given):
        objective.on_epoch(epoch, 9)
        objective.on_epoch(epoch, 9)
        objective(model(one.views), one)
        rows.append(projected(objective, model, one)[:, 1].detach())
    torch.testing.assert_close(objective.means.read()[1].float(), torch.cat(rows[1:]).mean(0))


def test_a_class_of_one_image_is_nearly_a_point() -> None:
    """Two views of one image, equal here: the estimate of κ is infinite, and the highest is taken."""
    model, objective = made()
    given_batch = batch("rows", 3, torch.tensor([0, 0, 2]))
    given_batch = given_batch._replace(views=given_batch.views[:1].expand(3, -1, -1))
    con = objective(model(given_batch.views), given_batch)["con"]
    assert float(natural_parameters(objective.means.read())[2].norm()) == pytest.approx(1e5)
    con.backward()
    assert bool(con.isfinite())
    assert bool(model.backbone.weight.grad.isfinite().all())


def test_opposite_rows_of_a_class_spread_it_over_the_sphere() -> None:
    _, objective = made()
    row = normal(1, 1, 128)
    objective.means.push(torch.cat([row, -row]), torch.tensor([1, 1]))
    assert float(natural_parameters(objective.means.read())[1].norm()) == 0


def test_nothing_is_learned_of_unlabelled_samples() -> None:
    model, objective = made()
    given_batch = batch("rows", 3, torch.full((4,), IGNORE))
    assert objective(model(given_batch.views), given_batch)["con"].item() == 0
    assert torch.equal(objective.means.read(), start_means(3, 128))


def test_head_widths() -> None:
    widths = [tuple(p.shape) for p in ProCo([5, 3, 1], Rows(3)).projector.parameters() if p.ndim == 2]
    assert widths == [(512, DIM), (128, 512)]
    objective = ProCo([5, 3, 1], Rows(3), width=7, hidden=11)
    assert objective.means.read().shape == (3, 7)


def test_pixels_are_drawn() -> None:
    torch.manual_seed(0)
    model = MODELS["pixels"](3)
    objective = ProCo([6, 3, 1], model, pixels=Balanced(5))
    given_batch = batch("pixels", 3, torch.randint(0, 3, (2, 8, 8)))
    objective(model(given_batch.views), given_batch)
    assert int(objective.means.counts.sum()) == 2 * 2 * 5


@pytest.mark.parametrize("option", [{"temperature": 0.0}, {"contrast_weight": -1.0}])
def test_bad_options_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(TailwiseError, match=r"ProCo: .* must"):
        ProCo([5, 3, 1], Rows(3), **option)
