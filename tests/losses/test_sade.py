"""SADE against its loop version, its golden value, and what it is for other numbers of experts."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems, normal
from tiny import DIM, Rows, batch
from torch import Tensor

from tailwise.counts import log_prior
from tailwise.losses import LogitAdjusted, cross_entropy, logit_adjusted
from tailwise.losses.sade import SADE, adjustments, reversed_log_prior
from tailwise.types import IGNORE, ExpertOutput, TailwiseError


def output(experts: Tensor) -> ExpertOutput:
    """What a model with the logits (E, V, *S, C) says."""
    logits = experts.mean(0)
    features, rows = logits.new_zeros(*logits.shape[:-1], DIM), logits.new_zeros(logits.shape[-1], DIM)
    return ExpertOutput(logits, features, rows, experts=experts)


def loop_expert(logits: Tensor, labels: Tensor, counts: Tensor, tau: float, expert: int) -> list[float]:
    """Per sample, for expert 0, 1 or 2."""
    prior = [n / sum(counts.tolist()) for n in counts.tolist()]
    rank = [sorted(range(len(prior)), key=prior.__getitem__).index(c) for c in range(len(prior))]
    inverse = [sorted(prior, reverse=True)[r] for r in rank]
    values = []
    for f, y in zip(logits.tolist(), labels.tolist(), strict=True):
        if expert > 0:
            f = [s + math.log(p) for s, p in zip(f, prior, strict=True)]
        if expert > 1:
            f = [s - tau * math.log(p) for s, p in zip(f, inverse, strict=True)]
        top = max(f)
        values.append(top + math.log(sum(math.exp(s - top) for s in f)) - f[y])
    return values


@given(logit_problems(), st.sampled_from([0.0, 1.0, 2.0]))
def test_equals_the_loop(problem: Logits, tau: float) -> None:
    for expert, shift in enumerate(adjustments(log_prior(problem.counts), tau, 3)):
        fast = cross_entropy(problem.logits + shift, problem.labels)
        compare(fast, loop_expert(problem.logits, problem.labels, problem.counts, tau, expert))


def test_golden() -> None:
    shift = adjustments(log_prior(GOLDEN_COUNTS), 2.0, 3)
    losses = [cross_entropy(GOLDEN_LOGITS + s, GOLDEN_LOGIT_LABELS).mean().item() for s in shift]
    assert losses == pytest.approx([0.628877489142608, 2.1040886776, 6.6547500662], rel=1e-6)


def test_the_rarest_class_gets_the_largest_share() -> None:
    prior = torch.tensor([0.2, 0.5, 0.05, 0.25]).log()
    torch.testing.assert_close(reversed_log_prior(prior).exp(), torch.tensor([0.25, 0.05, 0.5, 0.2]))


def test_of_equal_classes_the_first_counts_as_the_rarer() -> None:
    prior = torch.tensor([0.1, 0.7, 0.1, 0.1]).log()
    torch.testing.assert_close(reversed_log_prior(prior).exp(), torch.tensor([0.7, 0.1, 0.1, 0.1]))


@given(logit_problems())
def test_balanced_classes_leave_nothing_to_adjust(problem: Logits) -> None:
    shift = adjustments(log_prior(torch.full_like(problem.counts, 7)), 2.0, 3)
    plain = cross_entropy(problem.logits, problem.labels)
    for row in shift:
        torch.testing.assert_close(cross_entropy(problem.logits + row, problem.labels), plain)


def test_without_tau_the_third_expert_is_the_second() -> None:
    shift = adjustments(log_prior(GOLDEN_COUNTS), 0.0, 3)
    assert torch.equal(shift[1], shift[2])


@pytest.mark.parametrize(("experts", "skills"), [(1, [1]), (2, [0, 1]), (3, [0, 1, 2]), (5, [0, 1, 2, 0, 1])])
def test_any_number_of_experts_shares_the_skills_in_turn(experts: int, skills: list[int]) -> None:
    three = adjustments(log_prior(GOLDEN_COUNTS), 2.0, 3)
    assert torch.equal(adjustments(log_prior(GOLDEN_COUNTS), 2.0, experts), three[skills])


def test_one_expert_is_logit_adjustment() -> None:
    model, given_batch = Rows(4), batch("rows", 1, torch.tensor([0, IGNORE, 2, 1]))
    ours, theirs = (cls([60, 12, 3, 1], model) for cls in (SADE, LogitAdjusted))
    out = model(given_batch.views)
    torch.testing.assert_close(ours(out, given_batch), theirs(out, given_batch))
    torch.testing.assert_close(ours.carried_log_prior, theirs.carried_log_prior)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 2)], ids=["images or rows", "pixels"])
def test_objective_is_the_mean_over_labelled_samples(shape: tuple[int, ...]) -> None:
    experts = normal(5, 3, 2, *shape, 3).float()  # of two views the first counts
    labels = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(0))
    labels.view(-1)[1] = IGNORE
    terms = SADE(GOLDEN_COUNTS, Rows(3))(output(experts), batch("rows", 1, labels))
    kept = labels.flatten() >= 0
    logits, targets = experts[:, 0].flatten(1, -2)[:, kept], labels.flatten()[kept]
    values = [loop_expert(logits[e], targets, GOLDEN_COUNTS, 2.0, e) for e in range(3)]
    torch.testing.assert_close(terms["cls"], torch.tensor(sum(sum(v) / len(v) for v in values)))


def test_the_mean_carries_the_mean_of_what_the_experts_carry() -> None:
    """The Bayes-optimal experts f_e = log p(y | x) − A_e are corrected to the balanced posterior by the carried prior."""
    prior, objective = log_prior(GOLDEN_COUNTS).float(), SADE(GOLDEN_COUNTS, Rows(3))
    likelihood = GOLDEN_LOGITS.float()  # log p(x | y) up to a constant
    experts = (likelihood + prior) - adjustments(prior, 2.0, 3)[:, None]
    objective(output(experts[:, None]), batch("rows", 1, GOLDEN_LOGIT_LABELS))
    torch.testing.assert_close(objective.carried_log_prior, (prior + 2 * reversed_log_prior(prior)) / 3)
    balanced = experts.mean(0) - objective.carried_log_prior
    torch.testing.assert_close(balanced.softmax(-1), likelihood.softmax(-1))


def test_the_number_of_experts_is_saved_and_learnt_only_while_training() -> None:
    objective, labels = SADE(GOLDEN_COUNTS, Rows(3)), GOLDEN_LOGIT_LABELS
    out = output(GOLDEN_LOGITS.float()[None, None].expand(3, -1, -1, -1))
    objective.eval()
    objective(out, batch("rows", 1, labels))
    assert objective.experts == 1
    objective.train()
    objective(out, batch("rows", 1, labels))
    again = SADE(GOLDEN_COUNTS, Rows(3))
    again.load_state_dict(objective.state_dict())
    torch.testing.assert_close(again.carried_log_prior, objective.carried_log_prior)
    assert bool(again.carried_log_prior.any())


def test_an_expert_that_meets_the_uniform_distribution_is_the_second() -> None:
    shift = adjustments(log_prior(GOLDEN_COUNTS), 2.0, 3)[1]
    expected = logit_adjusted(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS, log_prior(GOLDEN_COUNTS))
    torch.testing.assert_close(cross_entropy(GOLDEN_LOGITS + shift, GOLDEN_LOGIT_LABELS), expected)


def test_bad_options_are_refused() -> None:
    with pytest.raises(TailwiseError, match="tau must not be negative"):
        SADE([3, 2], Rows(2), tau=-1.0)
