"""What modules tell is collected from wherever they are, and slots are followed from epoch to epoch."""

import io

import pytest
import torch
from torch import Tensor, nn

from tailwise.doctor.vitals import IDLE, Vitals
from tailwise.queue import ClassQueue, FifoQueue, Queue


class Slots(nn.Module):
    """Four slots, each with a mark."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("now", torch.full((4,), torch.nan))

    def vitals(self) -> dict[str, Tensor]:
        return {"filled": (~self.now.isnan()).float().mean(), "marks": self.now.clone()}


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(1, 1), Slots()])

    def vitals(self) -> dict[str, Tensor]:
        return {"temperature": torch.tensor(0.5)}


def test_figures_are_called_by_their_place() -> None:
    found = Vitals().collect(Holder())
    assert found == {"temperature": 0.5, "parts_1_filled": 0.0, "parts_1_stale": 0.0}


def test_a_slot_is_stale_after_so_many_epochs_without_a_change() -> None:
    held, vitals = Slots(), Vitals()
    held.now[:2] = torch.tensor([1.0, 2.0])
    stale = []
    for epoch in range(IDLE + 3):
        held.now[1] += 1  # one of the two filled slots is written in each epoch
        stale.append(vitals.collect(held)["stale"])
        if epoch == IDLE + 1:
            held.now[0] = 7.0
    assert stale == [0.0] * IDLE + [0.5, 0.5, 0.0]


def test_what_is_remembered_goes_through_a_checkpoint() -> None:
    held, whole, cut = Slots(), Vitals(), Vitals()
    held.now[:] = 1.0
    for vitals in (whole, cut):
        for _ in range(IDLE):
            vitals.collect(held)
    packed, again = io.BytesIO(), Vitals()
    torch.save(cut.state_dict(), packed)
    packed.seek(0)
    again.load_state_dict(torch.load(packed, weights_only=True))
    assert again.collect(held) == whole.collect(held) == {"filled": 1.0, "stale": 1.0}


@pytest.mark.parametrize("queue", [ClassQueue([4, 4], 3), FifoQueue(8, 3, 2)])
def test_a_queue_tells_how_full_it_is_and_which_slots_were_written(queue: Queue) -> None:
    vitals = Vitals()
    assert vitals.collect(queue) == {"filled": 0.0, "stale": 0.0}
    queue.push(torch.randn(3, 3), torch.tensor([0, 0, 1]), torch.arange(3))
    before = queue.state_dict()
    assert vitals.collect(queue) == {"filled": 0.375, "stale": 0.0}
    assert all(torch.equal(value, queue.state_dict()[key]) for key, value in before.items())
    for _ in range(IDLE):
        found = vitals.collect(queue)
    assert found == {"filled": 0.375, "stale": 1.0}
    queue.push(torch.randn(1, 3), torch.tensor([1]), torch.tensor([9]))
    assert vitals.collect(queue) == {"filled": 0.5, "stale": 0.75}


def test_a_queue_of_another_number_of_slots_is_followed_from_anew() -> None:
    vitals = Vitals()
    for size in (4, 8):
        queue = FifoQueue(size, 2, 2)
        queue.push(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64), torch.arange(4))
        for _ in range(IDLE):
            assert vitals.collect(queue)["stale"] == 0.0
