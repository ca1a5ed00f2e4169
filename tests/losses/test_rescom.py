"""Mined contrast against loops and golden values, the selection itself, and what ResCom weighs, stores and adds up."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, GOLDEN_LABELS, GOLDEN_ROWS, Contrast, compare, contrasts, on_sphere
from tiny import Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.counts import effective_number
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.rescom import ResCom, hard_contrastive, highest
from tailwise.types import IGNORE, TailwiseError

NONE = torch.zeros(0, 4, dtype=F64), torch.zeros(0, dtype=torch.int64)
FLAT = torch.zeros(3, dtype=F64)


@given(st.data())
def test_highest_takes_the_first_of_equals(data: st.DataObject) -> None:
    width, count = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 7))
    values = data.draw(st.lists(st.integers(-2, 2), min_size=width, max_size=width))
    members = data.draw(st.lists(st.booleans(), min_size=width, max_size=width))
    expected = sorted((k for k in range(width) if members[k]), key=lambda k: (-values[k], k))[:count]
    found = highest(torch.tensor([values], dtype=F64), torch.tensor([members], dtype=torch.bool), count)
    assert found[0].nonzero().flatten().tolist() == sorted(expected)


def test_many_equal_keys_are_taken_in_order() -> None:
    """Unstable sorting keeps the order of a few, not of thousands."""
    scores = (torch.arange(4000, dtype=F64) % 2)[None]
    found = highest(scores, torch.ones(1, 4000, dtype=torch.bool), 50)
    assert found[0].nonzero().flatten().tolist() == list(range(1, 100, 2))


def loop(problem: Contrast, keys: Tensor, key_labels: Tensor, positives: int, negatives: int, eta: float) -> list[float | None]:
    """Chosen keys are taken off sorted lists, then −log softmax is averaged over the positives."""
    found: list[float | None] = []
    for anchor, y, itself in zip(problem.anchors, problem.labels.tolist(), problem.position, strict=True):
        if y == IGNORE:
            found.append(None)
            continue
        alike = sorted(float(anchor @ k) for k, c in zip(keys, key_labels, strict=True) if c == y)
        others = [(float(anchor @ k), int(c)) for k, c in zip(keys, key_labels, strict=True) if c != y]
        chosen = [(s, y) for s in alike[:positives]] + sorted(others, reverse=True)[:negatives]
        for k, label in enumerate(problem.column_labels.tolist()):
            if label != IGNORE and k != itself:
                chosen.append((float(anchor @ problem.columns[k]), label))
        scores = [(s / problem.temperature + eta * float(problem.log_prior[c]), c == y) for s, c in chosen]
        own = [s for s, same in scores if same]
        found.append(log(sum(exp(s) for s, _ in scores)) - sum(own) / len(own) if own else 0.0)
    return found


@given(contrasts(), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 1.0]))
def test_equals_the_loop(problem: Contrast, size: int, positives: int, negatives: int, eta: float) -> None:
    keys = on_sphere(problem.seed + 3, size, problem.columns.shape[1])
    key_labels = torch.arange(size) % len(problem.counts)
    fast = hard_contrastive(
        problem.anchors, problem.labels, problem.columns, problem.column_labels, problem.position,
        keys, key_labels, positives, negatives, problem.temperature, eta * problem.log_prior,
    )  # fmt: skip
    compare(fast, loop(problem, keys, key_labels, positives, negatives, eta))


@pytest.mark.parametrize(("temperature", "value"), [(0.1, 0.8191451229), (0.5, 1.0059593992)])
def test_without_keys_it_is_supervised_contrast(temperature: float, value: float) -> None:
    loss = hard_contrastive(
        GOLDEN_ROWS, GOLDEN_LABELS, GOLDEN_ROWS, GOLDEN_LABELS, torch.arange(6), *NONE, 4, 64, temperature, FLAT
    )
    assert loss.mean().item() == pytest.approx(value, rel=1e-6)


def test_with_every_key_mined_it_is_supervised_contrast_over_all() -> None:
    keys, labels = on_sphere(0, 9, 4), torch.arange(9) % 3
    every, every_label = torch.cat([GOLDEN_ROWS, keys]), torch.cat([GOLDEN_LABELS, labels])
    batch_alone = GOLDEN_ROWS, GOLDEN_LABELS, GOLDEN_ROWS, GOLDEN_LABELS, torch.arange(6)
    among_all = GOLDEN_ROWS, GOLDEN_LABELS, every, every_label, torch.arange(6)
    torch.testing.assert_close(
        hard_contrastive(*batch_alone, keys, labels, 9, 9, 0.1, FLAT),
        hard_contrastive(*among_all, *NONE, 0, 0, 0.1, FLAT),
    )


def test_only_the_hardest_keys_receive_gradients() -> None:
    """The least similar of the own class, the most similar of the others."""
    anchor = torch.tensor([[1.0, 0, 0, 0]], dtype=F64)
    keys = torch.nn.functional.normalize(
        torch.tensor([[9.0, 1, 0, 0], [1, 9, 0, 0], [1, 1, 0, 0], [9, 0, 1, 0], [1, 0, 9, 0], [1, 0, 1, 0]], dtype=F64), dim=1
    ).requires_grad_()
    labels, mine = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0])
    hard_contrastive(anchor, mine, anchor, mine, torch.tensor([0]), keys, labels, 1, 1, 0.5, FLAT).backward()
    assert keys.grad is not None
    assert (keys.grad != 0).any(1).nonzero().flatten().tolist() == [1, 3]


def test_gradient() -> None:
    labels, keys, key_labels = torch.tensor([0, 0, 1, IGNORE, 2, 0]), on_sphere(0, 6, 4), torch.arange(6) % 3

    def loss(rows: Tensor) -> Tensor:
        values = hard_contrastive(rows, labels, rows, labels, torch.arange(6), keys, key_labels, 1, 2, 0.3, FLAT)
        return values[labels != IGNORE]

    gradcheck(loss, (on_sphere(1, 6, 4).requires_grad_(),))


def test_terms_by_hand() -> None:
    """Both views are classified and contrasted, anchors weigh by rarity, and first views of the first step are keys."""
    model, labels, counts = Rows(3), torch.tensor([0, 2, 1, IGNORE]), torch.tensor([500, 30, 2])
    objective = ResCom(counts, model, classifier_weight=2.0, contrast_weight=0.5, prior_weight=1.0, hard_negatives=1).eval()
    objective.training = True  # the queue moves; statistics of batches do not enter
    volume = effective_number(counts, 0.999)
    weights, keys, key_labels = (volume.mean() / volume).float(), torch.zeros(0, 3), labels[:0]
    for seed in (1, 2):
        given_batch = batch("rows", 2, labels, seed)
        out = model(given_batch.views)
        rows, both = objective.projector(out.features.flatten(0, 1)), labels.repeat(2)
        terms = objective(out, given_batch)
        kept = both != IGNORE
        classifier = logit_adjusted(out.logits.flatten(0, 1)[kept], both[kept], objective.log_prior).mean()
        torch.testing.assert_close(terms["cls"], 2 * classifier)
        values = hard_contrastive(
            rows, both, rows, both, torch.arange(8), keys, key_labels, 4, 1, 0.1, objective.log_prior
        )  # fmt: skip
        torch.testing.assert_close(terms["con"], 0.5 * (weights[both[kept]] * values[kept]).mean())
        keys, key_labels = rows[:3].detach(), labels[:3]
    assert objective.queue.read().filled.tolist() == [2, 2, 2]


def test_every_class_has_as_many_keys() -> None:
    assert ResCom([500, 30, 2], Rows(3)).queue.slots.tolist() == [8, 8, 8]
    assert ResCom([500, 30, 2], Rows(3), queue_per_class=3).queue.slots.tolist() == [3, 3, 3]


def test_rare_classes_weigh_more() -> None:
    rarity = ResCom([500, 30, 2, 0], Rows(4)).rarity
    assert rarity.tolist() == sorted(rarity.tolist())
    torch.testing.assert_close((1 / rarity).mean(), torch.tensor(1.0))
    torch.testing.assert_close(ResCom([500, 30, 2], Rows(3), beta=0.0).rarity, torch.ones(3))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"hard_positives": -1}, "ResCom: numbers of hard keys must not be negative"),
        ({"hard_negatives": -1}, "ResCom: numbers of hard keys must not be negative"),
        ({"prior_weight": -0.5}, "ResCom: prior_weight must not be negative"),
        ({"contrast_weight": -0.5}, "ResCom: weights and tau must not be negative"),
        ({"temperature": 0.0}, "ResCom: temperature must be positive"),
        ({"beta": 1.0}, "beta must lie in"),
        ({"queue_per_class": 0}, "at least one slot"),
    ],
)
def test_impossible_options_are_refused(option: dict[str, float], message: str) -> None:
    with pytest.raises(TailwiseError, match=message):
        ResCom([5, 3, 1], Rows(3), **option)
