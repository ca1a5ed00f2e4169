"""`ClassQueue` against one deque per class, `FifoQueue` against one deque, `ShardedClassQueue` against `ClassQueue`."""

import copy
from collections import deque
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode
from worlds import together

from tailwise import distributed
from tailwise.queue import ClassQueue, FifoQueue, Queue, ShardedClassQueue
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
        written = queue.push(torch.stack([ids, -ids], 1).float(), torch.tensor(labels, dtype=torch.int64), ids)
        last = [i for i, c in zip(ids.tolist(), labels, strict=True) if 0 <= c < len(slots)]
        assert {*queue.index[written].tolist()} <= {*last}
        assert len(written) == len({*written.tolist()}) == sum(min(labels.count(c), n) for c, n in enumerate(slots))
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
    assert torch.equal(held.keys, queue.rows[queue.held().slots])


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
    """Whether all slots are filled or not: a backward pass may need what was read."""
    for slots in ([2], [3]):
        queue, _ = fill(slots, [[0, 0]])
        weight = torch.ones(2, 3, requires_grad=True)
        held = queue.read()
        before, loss = copy.deepcopy(held), (held.keys @ weight).sum()
        queue.push(torch.ones(2, 2), torch.tensor([0, 0]), torch.tensor([7, 8]))
        assert all(torch.equal(a, b) for a, b in zip(held, before, strict=True))
        loss.backward()
        assert torch.equal(weight.grad, before.keys.sum(0)[:, None].expand(2, 3))


def test_a_step_does_no_work_on_classes_and_slots_that_it_does_not_touch() -> None:
    """A push makes no tensor that grows with either."""
    queue, made = ClassQueue(torch.full((1000,), 2), 3), list[int]()
    buffers = {id(buffer) for buffer in queue.buffers()}

    class Sizes(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            results = out if isinstance(out, tuple) else (out,)
            made.extend(t.numel() for t in results if isinstance(t, torch.Tensor) and id(t) not in buffers)
            return out

    with Sizes():
        queue.push(torch.ones(5, 3), torch.tensor([999, 3, 3, 500, 3]), torch.arange(5))
    assert made
    assert max(made) <= 15


def test_slots_that_are_loaded_lay_out_the_queue() -> None:
    queue, _ = fill([3, 1], [[0, 0, 0, 1]])
    again = ClassQueue(torch.tensor([1, 3]), 2)
    again.load_state_dict(queue.state_dict())
    for ours, theirs in zip(again.read(), queue.read(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("slots", [[2, 0], [[1, 2]], [-1], [1.5, 2.0], []])
def test_a_class_without_a_slot_is_refused(slots: list[int]) -> None:
    with pytest.raises(TailwiseError, match="at least one slot"):
        ClassQueue(torch.tensor(slots), 4)


def test_slots_may_be_a_list_and_keys_have_a_width() -> None:
    assert ClassQueue([2, 3], 4).slots.tolist() == [2, 3]
    for make in (lambda: ClassQueue([2, 3], 0), lambda: FifoQueue(5, 0, 2)):
        with pytest.raises(TailwiseError, match=r"queue: 5 slots of width 0; give .* the width of the keys"):
            make()


@pytest.mark.parametrize("which", range(3))
def test_arrays_are_refused(which: int) -> None:
    pushed = [torch.zeros(1, 2), torch.zeros(1).long(), torch.zeros(1).long()]
    pushed[which] = pushed[which].numpy()
    with pytest.raises(TailwiseError, match=r"queue: pushed a ndarray; give tensors, torch.as_tensor"):
        ClassQueue([3], 2).push(*pushed)


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


several = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # each forked process runs one thread
SLOTS, LABELS = [4, 1, 2, 2], [[0, 0, 3, 1, 0, IGNORE], [2, 0, 1, 0, 0, 3], [0, 3, 2, 2, 3, 1]]


def push_all(queue: ClassQueue, steps: list[list[int]], first: int = 0) -> ClassQueue:
    """Each rank pushes its share of the steps' samples."""
    for step, labels in enumerate(steps):
        ids = torch.arange(len(labels)) + 10 * (first + step)
        each = len(labels) // distributed.world()
        mine = slice(distributed.rank() * each, (distributed.rank() + 1) * each)
        queue.push(torch.stack([ids, -ids], 1).float()[mine], torch.tensor(labels)[mine], ids[mine])
    return queue


@several
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_hold_every_so_many_th_slot_of_one_queue(world: int, tmp_path: Path) -> None:
    def job() -> dict[str, object]:
        queue = ShardedClassQueue(torch.tensor(SLOTS), 2)
        kept = queue.rows  # as an engine keeps buffers
        held = push_all(queue, LABELS).read()
        stored = [x.untyped_storage().nbytes() for x in (kept, queue.index, queue.labels, queue.place)]
        assert kept is queue.rows
        return {"state": queue.state_dict(), "held": tuple(held), "stored": stored}

    whole = push_all(ClassQueue(torch.tensor(SLOTS), 2), LABELS)
    ranks = together(world, tmp_path, job)
    for rank in ranks:
        assert rank["state"].keys() == whole.state_dict().keys()
        assert all(torch.equal(rank["state"][name], value) for name, value in whole.state_dict().items())
    held, everything = [rank["held"] for rank in ranks], whole.read()
    for r, (keys, labels, index, offsets, filled) in enumerate(held):
        mine = slice(r, None, world)
        assert torch.equal(keys, everything.keys[mine])  # every slot is filled, so rows are slots
        assert torch.equal(labels, everything.labels[mine])
        assert torch.equal(index, everything.index[mine])
        assert torch.equal(filled, everything.filled)
        assert offsets.diff().tolist() == [int((labels == c).sum()) for c in range(len(SLOTS))]
        size = len(range(r, sum(SLOTS), world))
        assert ranks[r]["stored"] == [2 * 4 * size, 8 * size, 8 * size, 8 * size]


@several
def test_a_shared_out_queue_is_saved_and_loaded_whole(tmp_path: Path) -> None:
    """By one process and by two, also into a queue that was dealt out before; and a rank may hold no slot at all."""
    start = push_all(ClassQueue(torch.tensor(SLOTS), 2), LABELS[:1]).state_dict()

    def job() -> dict[str, object]:
        queue = push_all(ShardedClassQueue(torch.tensor(SLOTS), 2), LABELS)
        queue.load_state_dict(start)
        push_all(queue, LABELS[1:], first=1)
        tiny = push_all(ShardedClassQueue(torch.tensor([1]), 2), [[0, 0]])
        return {"state": queue.state_dict(), "tiny": tiny.state_dict(), "rows": len(tiny.read().keys)}

    whole = push_all(ClassQueue(torch.tensor(SLOTS), 2), LABELS)
    one = push_all(ClassQueue(torch.tensor([1]), 2), [[0, 0]])
    for r, rank in enumerate(together(2, tmp_path, job)):
        assert all(torch.equal(rank["state"][name], value) for name, value in whole.state_dict().items())
        assert all(torch.equal(rank["tiny"][name], value) for name, value in one.state_dict().items())
        assert rank["rows"] == 1 - r


def test_alone_a_shared_out_queue_is_a_class_queue() -> None:
    queues = [push_all(cls(torch.tensor(SLOTS), 2), LABELS) for cls in (ClassQueue, ShardedClassQueue)]
    for ours, theirs in zip(*(queue.read() for queue in queues), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("queue", [ClassQueue(torch.tensor([2, 2]), 3), FifoQueue(4, 3, 2)], ids=["ClassQueue", "FifoQueue"])
def test_what_does_not_fit_is_refused_before_anything_is_written_and_any_integers_fit(queue: Queue) -> None:
    before, ids, rows = copy.deepcopy(queue.state_dict()), torch.arange(2), torch.ones(2, 3)
    odd = [(rows[:1], ids, ids), (rows, ids[:1], ids), (rows, ids, ids[:1]), (rows, ids[None], ids), (rows[:, 1:], ids, ids)]
    for pushed in (*odd, (rows, ids.float(), ids), (rows, ids, ids.float())):
        with pytest.raises(TailwiseError, match=r"queue: pushed .* give (keys \(N, 3\)|integers)"):
            queue.push(*pushed)
    assert all(torch.equal(before[key], value) for key, value in queue.state_dict().items())
    queue.push(rows, ids.int(), ids.int() + 7)
    assert queue.read().index.tolist() == [7, 8]


def test_a_part_of_a_queue_is_not_taken_for_the_whole() -> None:
    queue = ShardedClassQueue(torch.tensor(SLOTS), 2)
    queue.shards = 2
    with pytest.raises(TailwiseError, match="dealt out to 2 processes"):
        queue.read()
