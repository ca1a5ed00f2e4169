"""Samples that give many keys keep to their share of a ring, in every kind of queue, against lists."""

from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from worlds import together

from tailwise import distributed
from tailwise.queue import ClassQueue, FifoQueue, Queue, ShardedClassQueue
from tailwise.types import IGNORE

Push = list[tuple[int, int]]  # label and sample of each key
Key = tuple[int, int]  # its number, and its sample
CLASSES = 3


class Lists:
    """Rings as lists, the oldest first."""

    def __init__(self, slots: list[int]) -> None:
        self.slots, self.rings = slots, [[] for _ in slots]  # type: ignore[var-annotated]

    def push(self, keys: list[tuple[int, Key]], share: float) -> None:
        for ring, size in enumerate(self.slots):
            new = [key for of, key in keys if of == ring]
            for sample in {index for _, index in new}:
                self.renew(ring, [key for key in new if key[1] == sample], max(1, int(share * size)), new)
            self.rings[ring] = (self.rings[ring] + new)[-size:]

    def renew(self, ring: int, given: list[Key], cap: int, new: list[Key]) -> None:
        """The sample's slots get its newest keys; what is still to be pushed stays in ``new``."""
        places = [place for place, key in enumerate(self.rings[ring]) if key[1] == given[0][1]]
        last = given[-cap:]
        over = max(0, len(places) + len(last) - cap)
        moved = [self.rings[ring][place] for place in places][over:] + last[:over]
        for place, key in zip(places, moved, strict=True):
            self.rings[ring][place] = key
        for key in [key for key in given if key not in last[over:]]:
            new.remove(key)


def rings(queue: Queue, rows: Tensor, index: Tensor) -> list[list[Key]]:
    """What rows (K, 2) and sample indices (K,) of a queue hold, as lists."""
    held = [(int(number), int(sample)) for number, sample in zip(rows[:, 0], index, strict=True)]
    slots = queue.slots.tolist() if isinstance(queue, ClassQueue) else [len(held)]
    pushed = queue.pushed.reshape(-1).tolist()
    lists, start = [], 0
    for size, count in zip(slots, pushed, strict=True):
        ring, turn = held[start : start + size], count % size
        lists.append(ring[turn:] + ring[:turn] if count >= size else ring[:count])
        start += size
    return lists


def push_all(queue: Queue, pushes: list[Push], share: float) -> None:
    """Each rank pushes its part of every push."""
    for step, keys in enumerate(pushes):
        number = torch.arange(len(keys)) + 100 * step
        labels, index = (torch.tensor([key[i] for key in keys], dtype=torch.int64) for i in (0, 1))
        each = len(keys) // distributed.world()
        mine = slice(distributed.rank() * each, (distributed.rank() + 1) * each)
        queue.push(number[:, None].expand(-1, 2).float()[mine], labels[mine], index[mine], share)


def expected(slots: list[int], pushes: list[Push], share: float, one_ring: bool = False) -> list[list[Key]]:
    lists = Lists(slots)
    for step, keys in enumerate(pushes):
        numbered = [(label, (100 * step + n, sample)) for n, (label, sample) in enumerate(keys) if label >= 0]
        lists.push([(0, key) if one_ring else (label, key) for label, key in numbered], share)
    return lists.rings


@st.composite
def histories(draw: st.DrawFn, length: int = 12) -> tuple[list[int], list[Push]]:
    slots = draw(st.lists(st.integers(1, 9), min_size=CLASSES, max_size=CLASSES))
    key = st.tuples(st.sampled_from([IGNORE, 0, 0, 1, 2]), st.integers(0, 3))
    return slots, draw(st.lists(st.lists(key, max_size=length), max_size=8))


@given(histories(), st.sampled_from([1e-9, 0.25, 0.34, 0.5]))
def test_every_queue_is_as_lists(history: tuple[list[int], list[Push]], share: float) -> None:
    slots, pushes = history
    for cls in (ClassQueue, ShardedClassQueue):
        queue = cls(torch.tensor(slots), 2)
        push_all(queue, pushes, share)
        lists = rings(queue, queue.rows, queue.index)
        assert lists == expected(slots, pushes, share)
        assert queue.read().index.tolist() == queue.index[queue.index >= 0].tolist()
        for size, ring in zip(slots, lists, strict=True):
            samples = [sample for _, sample in ring]
            assert all(samples.count(sample) <= max(1, int(share * size)) for sample in samples)
    one = FifoQueue(sum(slots), 2, CLASSES)
    push_all(one, pushes, share)
    assert rings(one, one.rows, one.index) == expected([sum(slots)], pushes, share, one_ring=True)
    label_of = {100 * step + n: label for step, keys in enumerate(pushes) for n, (label, _) in enumerate(keys)}
    held = one.read()
    assert held.labels.tolist() == [label_of[int(number)] for number in held.keys[:, 0]]


@given(histories())
def test_samples_that_give_one_key_are_not_concerned(history: tuple[list[int], list[Push]]) -> None:
    slots, pushes = history
    once = [[(label, 100 * step + n) for n, (label, _) in enumerate(keys)] for step, keys in enumerate(pushes)]
    for make in (partial(ClassQueue, torch.tensor(slots), 2), partial(FifoQueue, sum(slots), 2, CLASSES)):
        queues = [make(), make()]
        for queue, share in zip(queues, (0.25, 1.0), strict=True):
            push_all(queue, once, share)
        for ours, theirs in zip(*(queue.buffers() for queue in queues), strict=True):
            assert torch.equal(ours, theirs)


def test_an_image_of_one_class_never_fills_its_ring() -> None:
    queue, one = ClassQueue(torch.tensor([64, 2]), 2), FifoQueue(64, 2, 2)
    for step in range(5):
        for each in (queue, one):
            each.push(torch.full((10_000, 2), step), torch.zeros(10_000, dtype=torch.int64), torch.full((10_000,), 7), 0.25)
            held = each.read()
            assert held.index.tolist() == [7] * 16
            assert bool((held.keys == step).all())
    for each in (queue, one):
        for image in range(4):
            each.push(torch.zeros(99, 2), torch.zeros(99, dtype=torch.int64), torch.full((99,), image), 0.25)
        assert torch.bincount(each.read().index).tolist() == [16, 16, 16, 16]


def test_what_was_written_is_told() -> None:
    queue, labels, index = ClassQueue(torch.tensor([4]), 1), torch.zeros(3, dtype=torch.int64), torch.tensor([5, 5, 6])
    assert queue.push(torch.tensor([[1.0], [2.0], [3.0]]), labels, index, 0.5).tolist() == [0, 1, 2]
    assert queue.push(torch.tensor([[4.0]]), labels[:1], index[:1], 0.5).tolist() == [0, 1]  # the second moved up
    assert queue.rows.flatten().tolist() == [2.0, 4.0, 3.0, 0.0]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # each forked process runs one thread
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_agree_on_a_queue_that_they_share(world: int, tmp_path: Path) -> None:
    generator, slots = torch.Generator().manual_seed(0), [9, 4, 1]
    drawn = [torch.randint(0, 3, (2, 12), generator=generator).tolist() for _ in range(6)]
    pushes = [list(zip(labels, index, strict=True)) for labels, index in drawn]

    def job() -> list[dict[str, Tensor]]:
        queues = [cls(torch.tensor(slots), 2) for cls in (ClassQueue, ShardedClassQueue)]
        for queue in queues:
            push_all(queue, pushes, 0.25)
        return [queue.state_dict() for queue in queues]

    whole = ClassQueue(torch.tensor(slots), 2)
    push_all(whole, pushes, 0.25)
    for states in together(world, tmp_path, job):
        for state in states:
            assert all(torch.equal(state[name], value) for name, value in whole.state_dict().items())
