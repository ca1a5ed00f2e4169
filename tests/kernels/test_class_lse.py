"""Class-wise log-sum-exps against loops, empty sets, and sums that must not cancel."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.kernels import ClassLSE, class_lse
from tailwise.kernels.problem import EMPTY

F64 = torch.float64


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


Problem = tuple[Tensor, Tensor, Tensor, float, Tensor, Tensor, Tensor, Tensor]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    queries, keys, width = draw(st.integers(1, 5)), draw(st.integers(0, 8)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**20))

    def ids(n: int) -> Tensor:
        return torch.tensor(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), dtype=torch.int64)

    return (
        normal(seed, queries, width), normal(seed + 1, keys, width), normal(seed + 2, keys),
        draw(st.sampled_from([0.1, 0.5, 1.0])), ids(queries), ids(keys), ids(queries), ids(keys),
    )  # fmt: skip


def loops(problem: Problem) -> ClassLSE:
    queries, keys, bias, temperature, labels, key_labels, index, key_index = problem
    sums: list[list[float]] = []
    means: list[list[float]] = []
    for q, y, i in zip(queries, labels, index, strict=True):
        sets: list[list[tuple[float, float]]] = [[], [], []]
        for k, b, label, j in zip(keys, bias, key_labels, key_index, strict=True):
            which = 0 if label != y else 2 if i == j else 1
            score = (q @ k).item() / temperature
            sets[which].append((exp(score + b.item()), score))
        sums.append([log(sum(e for e, _ in s)) if s else EMPTY for s in sets] + [len(sets[2])])
        means.append([sum(e * score for e, score in s) / sum(e for e, _ in s) if s else 0.0 for s in sets])
    others, own, itself, own_keys = torch.tensor(sums, dtype=F64).T
    return ClassLSE(others, own, itself, own_keys.long(), torch.tensor(means, dtype=F64).T)


@given(problems())
def test_equals_the_loop(problem: Problem) -> None:
    for fast, slow in zip(class_lse(*problem), loops(problem), strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


LABELS, KEY_LABELS = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1, 1, 0])
INDEX, KEY_INDEX = torch.tensor([0, 1, 2]), torch.tensor([0, 3, 1, 1, 4])


def test_gradient() -> None:
    def sums(q: Tensor, k: Tensor, b: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        lse = class_lse(q, k, b, t, LABELS, KEY_LABELS, INDEX, KEY_INDEX)
        return lse.others, lse.own[:1], lse.itself[:2], lse.own_class()[:2]

    given_data = (normal(0, 3, 4), normal(1, 5, 4), normal(2, 5), torch.tensor(0.5, dtype=F64))
    gradcheck(sums, tuple(x.requires_grad_() for x in given_data))


def test_the_gradient_of_the_temperature_needs_no_second_graph() -> None:
    """`of_temperature` against autograd through the scores themselves."""
    queries, keys, bias = normal(0, 3, 4), normal(1, 5, 4), normal(2, 5)
    temperature = torch.tensor(0.4, dtype=F64, requires_grad=True)
    lse = class_lse(queries, keys, bias, temperature.detach(), LABELS, KEY_LABELS, INDEX, KEY_INDEX)
    moved = lse.of_temperature(temperature)
    torch.testing.assert_close(moved.others, lse.others)
    scores = queries @ keys.T / temperature + bias
    direct = scores[0, [2, 3]].logsumexp(0) + 3 * scores[0, [1, 4]].logsumexp(0) - scores[0, 0]
    ours = moved.others[0] + 3 * moved.own[0] - moved.itself[0]
    torch.testing.assert_close(*(torch.autograd.grad(x, temperature)[0] for x in (ours, direct)))
    assert not lse.others.requires_grad


def test_own_class_is_every_key_of_the_class() -> None:
    queries, keys, bias = normal(0, 3, 4), normal(1, 5, 4), normal(2, 5)
    lse = class_lse(queries, keys, bias, 0.5, LABELS, KEY_LABELS, INDEX, KEY_INDEX)
    scores = queries @ keys.T / 0.5 + bias
    torch.testing.assert_close(lse.own_class()[0], scores[0, [0, 1, 4]].logsumexp(0))
    torch.testing.assert_close(lse.own_class()[1], scores[1, [2, 3]].logsumexp(0))


@pytest.mark.parametrize("keys", [0, 3])
def test_empty_sets_are_finite_with_zero_gradient(keys: int) -> None:
    """Class 5 has no key; without any key all three sets are empty."""
    queries, rows = torch.randn(2, 4, requires_grad=True), torch.randn(keys, 4, requires_grad=True)
    labels, ids = torch.tensor([5, 5]), torch.arange(keys)
    lse = class_lse(queries, rows, torch.zeros(keys), 0.1, labels, torch.zeros(keys).long(), labels, ids)
    assert lse.own.tolist() == lse.itself.tolist() == pytest.approx([EMPTY, EMPTY])
    assert lse.itself_keys.tolist() == [0, 0]
    (lse.own + lse.itself + lse.own_class()).sum().backward()
    assert queries.grad is not None
    assert bool((queries.grad == 0).all())


def test_the_antipodal_class_survives_a_cold_temperature() -> None:
    """Own keys at cosine 1, the rest of the class at −1: subtracting sums would leave log 0 in float32."""
    query = torch.tensor([[1.0, 0.0]], requires_grad=True)
    keys = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    temperature = torch.tensor(0.01, requires_grad=True)
    lse = class_lse(
        query, keys, torch.zeros(3), temperature, torch.tensor([0]), torch.tensor([0, 0, 1]),
        torch.tensor([7]), torch.tensor([7, 8, 9]),
    )  # fmt: skip
    torch.testing.assert_close(torch.cat([lse.itself, lse.own, lse.others]), torch.tensor([100.0, -100.0, 0.0]))
    left_out = torch.logaddexp(lse.others, lse.own) - lse.own
    torch.testing.assert_close(left_out, torch.tensor([100.0]))
    left_out.sum().backward()
    assert query.grad is not None
    assert temperature.grad is not None
    torch.testing.assert_close(query.grad, torch.tensor([[100.0, 100.0]]))
    torch.testing.assert_close(temperature.grad, torch.tensor(-1e4))
