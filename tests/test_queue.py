"""`ClassQueue` against one deque per class, `FifoQueue` against one deque."""

from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailwise.queue import ClassQueue, FifoQueue
from tailwise.types import IGNORE, TailwiseError

Pushes = list[list[int]]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], Pushes]:
    """Slots per class, and the labels of several pushes: unlabelled ones, and more of a class than it has slots."""
    slots = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    label = st.sampled_from([IGNORE, -1, len(slots), *range(len(slots))])
    return slots, draw(st.lists(st.lists(label, max_size=9), max_size=6))


def fill(slots: list[int], pushes: Pushes) -> tuple[ClassQueue, list[deque[int]]]:
    """The queue, and the sample indices that a plain model holds; key k is the vector (k, −k)."""
    queue, model, index = ClassQueue(torch.tensor(slots), 2), [deque[int](maxlen=n) for n in slots], 0
    for labels in pushes:
        ids = torch.arange(index, index + len(labels))
        queue.push(torch.stack([ids, -ids], 1).float(), torch.tensor(labels, dtype=torch.int64), ids)
        for c in labels:
            if 0 <= c < len(slots):
                model[c].append(index)
            index += 1
    return queue, model


@given(histories())
def test_each_class_keeps_its_newest_keys(history: tuple[list[int], Pushes]) -> None:
    slots, pushes = history
    queue, model = fill(slots, pushes)
    held = queue.read()
    assert held.filled.tolist() == [len(ring) for ring in model]
    assert held.offsets.tolist() == [sum(len(ring) for ring in model[:c]) for c in range(len(slots) + 1)]
    assert held.labels.tolist() == [c for c, ring in enumerate(model) for _ in ring]
    for c, ring in enumerate(model):
        rows = slice(int(held.offsets[c]), int(held.offsets[c + 1]))
        assert sorted(held.index[rows].tolist()) == sorted(ring)
    assert torch.equal(held.keys, torch.stack([held.index, -held.index], 1).float())


def test_one_push_overwrites_the_oldest() -> None:
    queue, _ = fill([2], [[0], [0, 0]])
    assert sorted(queue.read().index.tolist()) == [1, 2]
    queue, _ = fill([2], [[0, 0, 0, 0, 0], [0]])
    assert sorted(queue.read().index.tolist()) == [4, 5]


def test_what_was_never_filled_is_absent() -> None:
    held = ClassQueue(torch.tensor([2, 3]), 4).read()
    assert held.keys.shape == (0, 4)
    assert held.offsets.tolist() == [0, 0, 0]
    assert held.labels.dtype == held.index.dtype == held.filled.dtype == torch.int64


@given(histories())
def test_saved_and_loaded_it_goes_on_alike(history: tuple[list[int], Pushes]) -> None:
    slots, pushes = history
    queue, _ = fill(slots, pushes)
    again = ClassQueue(torch.tensor(slots), 2)
    again.load_state_dict(queue.state_dict())
    for q in (queue, again):
        q.push(torch.ones(3, 2), torch.tensor([0, 0, len(slots) - 1]), torch.tensor([97, 98, 99]))
    for ours, theirs in zip(again.read(), queue.read(), strict=True):
        assert torch.equal(ours, theirs)


def test_all_state_is_in_buffers() -> None:
    queue = ClassQueue(torch.tensor([2, 3]), 4)
    assert set(queue.state_dict()) == {"rows", "index", "slots", "pushed"}
    assert not list(queue.parameters())


def test_keys_are_stored_outside_the_graph() -> None:
    queue, keys = ClassQueue(torch.tensor([2]), 3), torch.randn(2, 3, requires_grad=True)
    queue.push(keys, torch.tensor([0, 0]), torch.arange(2))
    assert not queue.read().keys.requires_grad


def test_what_was_read_does_not_change_with_the_next_push() -> None:
    queue, _ = fill([2], [[0, 0]])
    held = queue.read().keys.clone(), queue.read().keys
    queue.push(torch.ones(2, 2), torch.tensor([0, 0]), torch.arange(2))
    assert torch.equal(*held)


@pytest.mark.parametrize("slots", [[2, 0], [[1, 2]], [-1]])
def test_a_class_without_a_slot_is_refused(slots: list[int]) -> None:
    with pytest.raises(TailwiseError, match="at least one slot"):
        ClassQueue(torch.tensor(slots), 4)


@given(st.integers(1, 7), st.lists(st.lists(st.sampled_from([IGNORE, 0, 1, 2, 3]), max_size=9), max_size=6))
def test_one_ring_for_all_keeps_the_newest_keys_with_their_labels(size: int, pushes: Pushes) -> None:
    """The class 3 is beyond the three that the queue knows."""
    queue, model, index = FifoQueue(size, 2, 3), deque[tuple[int, int]](maxlen=size), 0
    for labels in pushes:
        ids = torch.arange(index, index + len(labels))
        queue.push(torch.stack([ids, -ids], 1).float(), torch.tensor(labels, dtype=torch.int64), ids)
        model.extend((c, index + i) for i, c in enumerate(labels) if 0 <= c < 3)
        index += len(labels)
    held = queue.read()
    assert sorted(zip(held.labels.tolist(), held.index.tolist(), strict=True)) == sorted(model)
    assert held.labels.tolist() == sorted(held.labels.tolist())
    assert torch.equal(held.keys, torch.stack([held.index, -held.index], 1).float())
    assert held.filled.tolist() == held.offsets.diff().tolist() == [sum(c == k for c, _ in model) for k in range(3)]


def test_a_ring_without_slots_is_refused() -> None:
    with pytest.raises(TailwiseError, match="at least one slot"):
        FifoQueue(0, 2, 3)
