"""RIDE against its loop version, its lower bound, its schedule, and what it is for one expert."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems, normal
from tiny import DIM, MODELS, Rows, batch
from torch import Tensor

from tailwise.counts import log_prior
from tailwise.losses import CrossEntropy, cross_entropy
from tailwise.losses.ride import RIDE, class_temperature, disagreement
from tailwise.types import IGNORE, ExpertOutput, Output, TailwiseError

COUNTS = [60, 12, 3, 1]


def loop_temperature(counts: list[int], reweight: float) -> list[float]:
    raised = [1 + reweight * (len(counts) * n / sum(counts) - 1) for n in counts]
    return [value / max(raised) for value in raised]


def loop_softmax(scores: list[float]) -> list[float]:
    top = max(scores)
    total = sum(math.exp(s - top) for s in scores)
    return [math.exp(s - top) / total for s in scores]


def loop_disagreement(logits: Tensor, temperature: list[float]) -> list[float]:
    """Logits (E, M, C), one sample, expert and class after another."""
    experts, samples, classes = logits.shape
    values = []
    for i in range(samples):
        scores = [[math.log(p) for p in loop_softmax(logits[k, i].tolist())] for k in range(experts)]
        mean = loop_softmax([sum(s[c] for s in scores) / experts / temperature[c] for c in range(classes)])
        value = 0.0
        for k in range(experts):
            expert = loop_softmax([scores[k][c] / temperature[c] for c in range(classes)])
            value += sum(m * math.log(m / p) for m, p in zip(mean, expert, strict=True))
        values.append((sum(temperature) / classes) ** 2 * value)
    return values


def several(problem: Logits, experts: int, size: float = 1.0) -> Tensor:
    """Logits (E, M, C)."""
    return size * normal(problem.seed, experts, *problem.logits.shape)


def output(experts: Tensor) -> ExpertOutput:
    """What a model with the logits (E, V, *S, C) says."""
    logits = experts.mean(0)
    features, rows = logits.new_zeros(*logits.shape[:-1], DIM), logits.new_zeros(logits.shape[-1], DIM)
    return ExpertOutput(logits, features, rows, experts=experts)


@given(logit_problems(), st.integers(1, 4), st.sampled_from([0.0, 0.05, 0.6]))
def test_equals_the_loop(problem: Logits, experts: int, reweight: float) -> None:
    logits = several(problem, experts)
    temperature = class_temperature(log_prior(problem.counts), reweight)
    expected = loop_temperature(problem.counts.tolist(), reweight)
    compare(temperature, expected)
    compare(disagreement(logits, temperature), loop_disagreement(logits, expected))


def test_two_opposed_experts() -> None:
    """The mean is (½, ½), each expert (¾, ¼) or (¼, ¾): KL = log 2 − ½ log 3 for each, twice."""
    logits = torch.tensor([[[3.0, 1.0]], [[1.0, 3.0]]]).log()
    expected = 2 * (math.log(2) - math.log(3) / 2)
    assert disagreement(logits, torch.ones(2)).item() == pytest.approx(expected, rel=1e-6)


@given(logit_problems(), st.integers(1, 4), st.sampled_from([0.0, 0.05, 0.6]), st.sampled_from([1.0, 30.0, 1e4]))
def test_it_never_outweighs_cross_entropy(problem: Logits, experts: int, reweight: float, size: float) -> None:
    """So the loss has a floor: with diversity ≤ 1 − r no disagreement pays for a wrong answer."""
    logits = several(problem, experts, size)
    gain = disagreement(logits, class_temperature(log_prior(problem.counts), reweight))
    price = torch.stack([cross_entropy(expert, problem.labels) for expert in logits]).sum(0)
    assert bool((gain >= -1e-9).all())
    assert bool(((1 - reweight) * gain <= price * (1 + 1e-9) + 1e-9).all())


@given(logit_problems(), st.sampled_from([0.0, 0.05]))
def test_a_constant_added_to_the_logits_changes_nothing(problem: Logits, reweight: float) -> None:
    logits = several(problem, 3)
    temperature = class_temperature(log_prior(problem.counts), reweight)
    moved = logits + normal(problem.seed + 1, *logits.shape[:2], 1)
    torch.testing.assert_close(disagreement(moved, temperature), disagreement(logits, temperature))


@given(logit_problems())
def test_equal_experts_do_not_disagree(problem: Logits) -> None:
    temperature = class_temperature(log_prior(problem.counts), 0.05)
    for experts in (1, 3):
        gain = disagreement(problem.logits.expand(experts, -1, -1), temperature)
        torch.testing.assert_close(gain, torch.zeros_like(gain))


def test_gradient_pushes_each_expert_away_from_a_mean_that_stays() -> None:
    logits = normal(3, 3, 4, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(disagreement(logits, torch.ones(5)).sum(), logits)
    torch.testing.assert_close(gradient, (logits.softmax(-1) - logits.mean(0).softmax(-1)).detach())


def test_one_expert_is_cross_entropy() -> None:
    model, labels = Rows(4), batch("rows", 1, torch.tensor([0, IGNORE, 2, 1]))
    for epoch in (0, 199):
        ride, plain = RIDE(COUNTS, model), CrossEntropy(COUNTS, model)
        ride.on_epoch(epoch, 200)
        ours = torch.autograd.grad(sum(ride(model(labels.views), labels).values()), model.parameters())
        theirs = torch.autograd.grad(plain(model(labels.views), labels)["cls"], model.parameters())
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 2)], ids=["images or rows", "pixels"])
def test_objective_is_the_mean_over_labelled_samples(shape: tuple[int, ...]) -> None:
    experts = normal(5, 3, 2, *shape, 4).float()  # of two views the first counts
    labels = torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(0))
    labels.view(-1)[1] = IGNORE
    objective = RIDE(COUNTS, Rows(4), diversity=0.2)
    objective.on_epoch(9, 10)
    terms = objective(output(experts), batch("rows", 1, labels))
    kept = labels.flatten() >= 0
    logits = experts[:, 0].flatten(1, -2)[:, kept]
    base = sum(cross_entropy(expert, labels.flatten()[kept]).mean() for expert in logits)
    gain = loop_disagreement(logits, loop_temperature(COUNTS, 0.05))
    torch.testing.assert_close(terms["cls"], torch.as_tensor(base))
    torch.testing.assert_close(terms["div"], torch.tensor(-0.2 * sum(gain) / len(gain)))


def test_temperatures_follow_the_classes_from_four_fifths_of_the_epochs() -> None:
    objective = RIDE(COUNTS, Rows(4))
    late = torch.tensor(loop_temperature(COUNTS, 0.05))
    for epoch, expected in ((0, torch.ones(4)), (159, torch.ones(4)), (160, late), (199, late), (3, torch.ones(4))):
        objective.on_epoch(epoch, 200)
        torch.testing.assert_close(objective.temperature, expected)
    assert "temperature" in objective.state_dict()


def test_rare_classes_are_the_sharper() -> None:
    temperature = class_temperature(log_prior(GOLDEN_COUNTS), 0.05)
    assert temperature.tolist() == sorted(temperature.tolist(), reverse=True)
    assert temperature.max() == 1
    torch.testing.assert_close(class_temperature(log_prior(torch.tensor([7, 7])), 0.05), torch.ones(2, dtype=torch.float64))


def test_the_base_loss_is_a_subclass_away() -> None:
    class Margin(RIDE):
        def values(self, logits: Tensor, labels: Tensor) -> Tensor:
            return cross_entropy(logits - torch.nn.functional.one_hot(labels, logits.shape[-1]), labels)

    out: Output = output(GOLDEN_LOGITS.float()[None, None].expand(2, -1, -1, -1))
    labels = GOLDEN_LOGIT_LABELS
    terms = Margin(GOLDEN_COUNTS, Rows(3))(out, batch("rows", 1, labels))
    lowered = GOLDEN_LOGITS.float() - torch.eye(3)[labels]
    torch.testing.assert_close(terms["cls"], 2 * cross_entropy(lowered, labels).mean())


def test_scores_carry_the_prior() -> None:
    torch.testing.assert_close(RIDE([6, 3, 1], Rows(3)).carried_log_prior, torch.tensor([0.6, 0.3, 0.1]).log())


@pytest.mark.parametrize("options", [{"diversity": -0.1}, {"diversity": 0.96}, {"reweight": 1.0}, {"reweight_from": 1.5}])
def test_bad_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(TailwiseError, match=next(iter(options))):
        RIDE(COUNTS, MODELS["rows"](4), **options)
