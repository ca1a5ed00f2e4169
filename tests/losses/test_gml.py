"""Gaussian mixture likelihood: S_ic in loops, its two terms and what each trains, its special cases."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses import slow
from losses.cases import F64, compare, normal, on_sphere
from tiny import MODELS, Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.counts import count_labels, log_prior
from tailwise.losses import GML, Balanced, distillation, gaussian_mixture, logit_adjusted
from tailwise.losses.mixture import Mixture
from tailwise.teacher import Frozen
from tailwise.types import IGNORE, TailwiseError


@dataclass
class Problem:
    queries: Tensor
    labels: Tensor
    index: Tensor
    keys: Tensor
    key_labels: Tensor
    key_index: Tensor
    counts: Tensor
    temperature: float

    def mixture(self) -> Mixture:
        return gaussian_mixture(
            self.queries, self.labels, self.index, self.keys, self.key_labels, self.key_index,
            log_prior(self.counts), count_labels(self.key_labels, len(self.counts)),
            torch.tensor(self.temperature, dtype=F64).log(),
        )  # fmt: skip


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Keys are made from a few samples, some of them more than once; the queries are among those samples."""
    classes, population, width = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(2, 4))
    of = torch.tensor(draw(st.lists(st.sampled_from([IGNORE, *range(classes)]), min_size=population, max_size=population)))
    samples = st.integers(0, population - 1)
    index = torch.tensor(draw(st.lists(samples, min_size=1, max_size=5)))
    key_index = torch.tensor(draw(st.lists(samples, max_size=8)), dtype=torch.int64)
    key_index = key_index[of[key_index] >= 0]
    seed = draw(st.integers(0, 2**20))
    counts = torch.tensor(draw(st.lists(st.integers(0, 1000), min_size=classes, max_size=classes)))
    return Problem(
        on_sphere(seed, len(index), width), of[index], index,
        on_sphere(seed + 1, len(key_index), width), of[key_index], key_index,
        counts, draw(st.sampled_from([0.05, 0.1, 0.5, 1.0])),
    )  # fmt: skip


@given(problems())
def test_both_terms_equal_the_loop(problem: Problem) -> None:
    given_data = (problem.queries, problem.labels, problem.index, problem.keys, problem.key_labels, problem.key_index)
    mixture = problem.mixture()
    compare(mixture.contrast, slow.mixture(*given_data, problem.counts, problem.temperature, False))
    compare(mixture.temperature, slow.mixture(*given_data, problem.counts, problem.temperature, True))


COUNTS = torch.tensor([60, 30, 10])
KEY_LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2])
KEY_INDEX = torch.tensor([0, 1, 0, 2, 3, 4, 4])
LABELS, INDEX = torch.tensor([0, 1, 2, IGNORE, 0]), torch.tensor([0, 2, 4, 9, 7])


def terms(queries: Tensor, keys: Tensor, log_temperature: Tensor) -> Mixture:
    filled = count_labels(KEY_LABELS, 3)
    return gaussian_mixture(queries, LABELS, INDEX, keys, KEY_LABELS, KEY_INDEX, log_prior(COUNTS), filled, log_temperature)


def test_keys_of_the_query_leave_an_average_over_fewer() -> None:
    queries, keys, log_temperature = leaves()
    with torch.no_grad():
        mixture = terms(queries, keys, log_temperature)
    given_data = (queries, LABELS, INDEX, keys, KEY_LABELS, KEY_INDEX, COUNTS)
    compare(mixture.temperature, slow.mixture(*given_data, 0.3, True))
    compare(mixture.contrast, slow.mixture(*given_data, 0.3, False))


def leaves() -> tuple[Tensor, Tensor, Tensor]:
    log_temperature = torch.tensor(0.3, dtype=F64).log()
    leaf = (on_sphere(1, 5, 3), on_sphere(2, 7, 3), log_temperature)
    return tuple(x.requires_grad_() for x in leaf)


def test_gradients() -> None:
    queries, keys, log_temperature = leaves()
    fixed = log_temperature.detach()
    gradcheck(lambda q, k: terms(q, k, fixed).contrast, (queries, keys))
    gradcheck(lambda t: terms(queries.detach(), keys.detach(), t).temperature, log_temperature)


def test_each_term_trains_its_own_part() -> None:
    queries, keys, log_temperature = leaves()
    terms(queries, keys, log_temperature).contrast.sum().backward()
    assert log_temperature.grad is None
    assert all(bool((x.grad != 0).any()) for x in (queries, keys))
    queries, keys, log_temperature = leaves()
    terms(queries, keys, log_temperature).temperature.sum().backward()
    assert queries.grad is None
    assert keys.grad is None
    assert bool(log_temperature.grad != 0)


def test_a_query_with_only_its_own_keys_gives_no_temperature_term() -> None:
    mixture = terms(*leaves())
    assert mixture.temperature[2] == 0  # both keys of class 2 were made from sample 4
    assert mixture.contrast[2] > 0
    assert mixture.contrast[3] == mixture.temperature[3] == 0  # IGNORE


def test_one_key_per_class_is_logit_adjustment_of_a_cosine_classifier() -> None:
    queries, keys, labels = on_sphere(1, 5, 3), on_sphere(2, 3, 3), torch.tensor([0, 1, 2, 2, 0])
    prior, temperature = log_prior(COUNTS), torch.tensor(0.2, dtype=F64)
    contrast = gaussian_mixture(
        queries, labels, torch.arange(5), keys, torch.arange(3), torch.arange(3) + 5, prior, torch.ones(3).long(),
        temperature.log(),
    ).contrast  # fmt: skip
    torch.testing.assert_close(contrast, logit_adjusted(queries @ keys.T / temperature, labels, prior))


def test_queues_in_proportion_to_the_prior_are_supervised_contrast_of_the_inner_form() -> None:
    key_labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    queries, keys, labels = on_sphere(1, 5, 3), on_sphere(2, 10, 3), torch.tensor([0, 1, 2, 2, 0])
    temperature = torch.tensor(0.2, dtype=F64)
    contrast = gaussian_mixture(
        queries, labels, torch.arange(5), keys, key_labels, torch.arange(10) + 5, log_prior(COUNTS),
        count_labels(key_labels, 3), temperature.log(),
    ).contrast  # fmt: skip
    weight = (queries @ keys.T / temperature).exp()
    inner = -((weight * (labels[:, None] == key_labels)).sum(1) / weight.sum(1)).log()
    torch.testing.assert_close(contrast, inner)


@given(st.integers(0, 2**20), st.sampled_from([1.0, 4.0]))
def test_distillation(seed: int, temperature: float) -> None:
    student, teacher = 3 * normal(seed, 4, 5), 3 * normal(seed + 1, 4, 5)
    compare(distillation(student, teacher, temperature), slow.distillation(student, teacher, temperature))
    compare(distillation(student, student, temperature), [0.0] * 4)


def test_distillation_gradient() -> None:
    teacher = normal(1, 3, 4)
    gradcheck(lambda z: distillation(z, teacher), normal(2, 3, 4).requires_grad_())


@pytest.mark.parametrize("kind", ["rows", "pixels"])
def test_distillation_reads_the_teachers_first_view(kind: str) -> None:
    torch.manual_seed(0)
    model, teacher = MODELS[kind](3), MODELS[kind](3)
    objective = GML([6, 3, 1], model, Frozen(teacher), queue_size=32, distillation_weight=0.5, pixels=Balanced(8))
    labels = torch.tensor([0, 1, 2, IGNORE]) if kind == "rows" else torch.randint(0, 3, (4, 8, 8))
    given_batch = batch(kind, 3, labels)
    terms = objective(model(given_batch.views[:2]), given_batch)
    student, seen = (m(given_batch.views[:1]).logits[0].flatten(0, -2) for m in (model, teacher))
    expected = distillation(student, seen)[labels.flatten() >= 0].mean()
    torch.testing.assert_close(terms["div"], 0.5 * expected)


def test_the_queue_holds_the_teachers_features_of_the_third_view() -> None:
    model, teacher = Rows(3), Rows(3)
    objective = GML([6, 3, 1], model, Frozen(teacher), queue_size=32)
    given_batch = batch("rows", 3, torch.tensor([0, 1, IGNORE, 2]), first=10)
    objective(model(given_batch.views[:2]), given_batch)
    held = objective.queue.read()
    assert held.index.tolist() == [10, 11, 13]
    torch.testing.assert_close(held.keys, teacher(given_batch.views).features[2, [0, 1, 3]])


@pytest.mark.parametrize("tau", [1.0, 0.25])
def test_the_second_view_is_the_query_and_the_projected_queue_its_keys(tau: float) -> None:
    torch.manual_seed(0)
    model = Rows(3)
    options = {"temperature": 0.2, "classifier_weight": 3.0, "contrast_weight": 0.5, "temperature_weight": 0.8, "tau": tau}
    objective = GML([6, 3, 1], model, queue_size=32, **options).eval()
    given_batch = batch("rows", 3, torch.tensor([0, 1, IGNORE, 2, 0]))
    objective.train()(model(given_batch.views[:2]), given_batch)
    out, held = model(given_batch.views[:2]), objective.eval().queue.read()
    mixture = gaussian_mixture(
        objective.query_head(out.features[1]), given_batch.labels, given_batch.index, objective.key_head(held.keys),
        held.labels, held.index, tau * objective.log_prior, held.filled, torch.tensor(0.2).log(),
    )  # fmt: skip
    labelled = given_batch.labels != IGNORE
    assert bool((mixture.temperature[labelled] > 0).any())
    adjusted = logit_adjusted(out.logits[0, labelled], given_batch.labels[labelled], objective.log_prior, tau)
    expected = {
        "cls": 3 * adjusted.mean(),
        "con": 0.5 * mixture.contrast[labelled].mean(),
        "temp": 0.5 * 0.8 * mixture.temperature[labelled].mean(),
    }
    torch.testing.assert_close(objective(out, given_batch), expected)
    torch.testing.assert_close(objective.carried_log_prior, (1 - tau) * torch.tensor([0.6, 0.3, 0.1]).log())


def test_the_heads_start_equal_and_the_teacher_may_be_wider() -> None:
    model, teacher = Rows(3), Rows(3)
    same = GML([6, 3, 1], model)
    torch.testing.assert_close(same.query_head.state_dict(), same.key_head.state_dict())
    teacher.backbone, teacher.head, teacher.dim = torch.nn.Linear(5, 9), torch.nn.Linear(9, 3), 9
    objective = GML([6, 3, 1], model, Frozen(teacher))
    given_batch = batch("rows", 3, torch.tensor([0, 1, 0, 2]))
    assert all(bool(t.isfinite()) for t in objective(model(given_batch.views[:2]), given_batch).values())


def test_a_loss_without_its_contrast_is_refused() -> None:
    with pytest.raises(TailwiseError, match="contrast_weight"):
        GML([6, 3, 1], Rows(3), contrast_weight=0.0)
