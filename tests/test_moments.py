"""`ClassMeans` against lists of the rows themselves."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tailwise.moments import ClassMeans
from tailwise.types import IGNORE, TailwiseError

CLASSES, WIDTH = 3, 2
START = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
History = list[tuple[int, list[list[int]]]]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Epochs in order, some of them missing or begun again, with the labels of several pushes each."""
    epochs = sorted(draw(st.lists(st.integers(0, 4), max_size=6)))
    label = st.sampled_from([IGNORE, -1, CLASSES, *range(CLASSES)])
    return [(e, draw(st.lists(st.lists(label, max_size=5), max_size=3))) for e in epochs]


def rows_of(labels: list[int], seed: int) -> tuple[Tensor, Tensor]:
    rows = torch.randn(len(labels), WIDTH, generator=torch.Generator().manual_seed(seed))
    return rows, torch.tensor(labels, dtype=torch.int64)


def fill(history: History) -> tuple[ClassMeans, Tensor]:
    """The module, and the means of the rows that a plain model holds."""
    means, last, running, now, seed = ClassMeans(START), [], [], 0, 0
    for epoch, pushes in history:
        means.turn(epoch)
        if epoch != now:
            last, running, now = running, [], epoch
        for labels in pushes:
            seed += 1
            rows, of = rows_of(labels, seed)
            means.push(rows, of)
            running += list(zip(rows, labels, strict=True))
    expected = START.double().clone()
    for c in range(CLASSES):
        mine = [row.double() for row, label in last + running if label == c]
        if mine:
            expected[c] = torch.stack(mine).mean(0)
    return means, expected


@given(histories())
def test_means_of_the_last_epoch_and_the_running_one(history: History) -> None:
    means, expected = fill(history)
    torch.testing.assert_close(means.read(), expected)


@given(histories())
def test_saved_and_loaded_it_goes_on_alike(history: History) -> None:
    means, _ = fill(history)
    again = ClassMeans(torch.zeros_like(START))
    again.load_state_dict(means.state_dict())
    for m in (means, again):
        m.turn(int(means.epoch))  # as on resume, in the middle of an epoch
        m.push(*rows_of([0, 2, 0], 99))
        m.turn(9)
        m.push(*rows_of([2], 98))
    assert torch.equal(again.read(), means.read())


def test_an_epoch_is_begun_once() -> None:
    means, _ = fill([(0, [[0, 1]]), (1, [[0]])])
    before = {k: v.clone() for k, v in means.state_dict().items()}
    means.turn(1)
    for key, value in means.state_dict().items():
        assert torch.equal(value, before[key]), key
    means.turn(2)
    means.turn(3)
    assert torch.equal(means.read(), START.double())


def test_all_state_is_in_buffers() -> None:
    means = ClassMeans(START)
    assert set(means.state_dict()) == {"start", "sums", "counts", "epoch"}
    assert not list(means.parameters())


def test_sums_are_double_and_outside_the_graph() -> None:
    means, rows = ClassMeans(START), torch.ones(2, WIDTH, requires_grad=True)
    means.push(rows, torch.tensor([0, 0]))
    assert not means.read().requires_grad
    assert means.read().dtype == torch.float64


def test_what_was_read_does_not_change_with_the_next_push() -> None:
    means, _ = fill([(0, [[0, 1]])])
    held = means.read()
    copy = held.clone()
    means.push(*rows_of([0, 0, 2], 5))
    assert torch.equal(held, copy)


def test_a_start_without_a_row_for_each_class_is_refused() -> None:
    with pytest.raises(TailwiseError, match="one row per class"):
        ClassMeans(torch.zeros(3))
