"""How keys are made of GML's queue: whole, in half precision, or a rotating share of it; held to the contract of objectives."""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import Rows, batch
from torch import Tensor
from worlds import together

from tailwise import distributed
from tailwise.losses import GML, GMLSharedQueue, HalfPrecision, KeyProjection, Refresh, Whole
from tailwise.losses.heads import Projection
from tailwise.queue import ClassQueue
from tailwise.task import Task
from tailwise.types import IGNORE, Batch, TailwiseError

COUNTS, BATCH = [60, 12, 3, 1], 8
NOTHING = torch.empty(0, dtype=torch.int64)


def task(projection: KeyProjection | None = None, cls: type[GML] = GML, width: int = 4) -> Task:
    torch.manual_seed(0)
    model = Rows(4)
    return Task(model, cls(COUNTS, model, queue_size=24, width=width, projection=projection))


def some_batch(step: int, views: int = 3) -> Batch:
    labels = torch.randint(0, 4, (BATCH,), generator=torch.Generator().manual_seed(step))
    labels[step % BATCH] = IGNORE
    given = batch("rows", views, labels, step, BATCH * step)
    each = BATCH // distributed.world()
    mine = slice(distributed.rank() * each, (distributed.rank() + 1) * each)
    return Batch(given.views[:, mine], given.labels[mine], given.index[mine], given.key[mine])


def step(task: Task, optimizer: torch.optim.Optimizer, at: int) -> dict[str, Tensor]:
    terms = task(some_batch(at))
    optimizer.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    for p in task.parameters():
        if p.requires_grad:
            assert p.grad is not None
            p.grad = distributed.global_sum(p.grad) / distributed.world()
    optimizer.step()
    task.on_step()
    return terms


def trained(task: Task, steps: int) -> dict[str, Tensor]:
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], 0.1, momentum=0.9)
    for at in range(steps):
        step(task, optimizer, at)
    return task.state_dict()


def prepared(share: float, slots: list[int], filled: list[int]) -> tuple[Refresh, ClassQueue, Projection, Tensor]:
    """A queue with so many keys per class, random, and their slots."""
    torch.manual_seed(0)
    queue, refresh, head = ClassQueue(torch.tensor(slots), 5), Refresh(share), Projection(5, 3)
    refresh.prepare(sum(slots), 3)
    labels = torch.arange(len(slots)).repeat_interleave(torch.tensor(filled))
    pushed = queue.push(torch.randn(len(labels), 5), labels, torch.arange(len(labels)))
    return refresh, queue, head, pushed


@pytest.mark.parametrize("cls", [GML, GMLSharedQueue])
def test_a_share_of_one_is_the_whole_queue(cls: type[GML]) -> None:
    whole, all_of_it = trained(task(cls=cls), 5), trained(task(Refresh(1.0), cls), 5)
    assert whole.keys() == {key for key in all_of_it if "projection" not in key}
    assert all(torch.equal(all_of_it[key], value) for key, value in whole.items())


@given(st.integers(1, 60), st.floats(0.001, 1.0))
def test_every_slot_has_its_turn(slots: int, share: float) -> None:
    refresh = Refresh(share)
    refresh.prepare(slots, 1)
    count = max(round(share * slots), 1)
    seen = []
    for _ in range(-(-slots // count)):
        turn = refresh._in_turn()
        assert len(turn) == len({*turn.tolist()}) == count
        assert int(turn.diff().max() - turn.diff().min()) <= 1 if count > 1 else True
        seen += turn.tolist()
        refresh.turn += 1
    assert {*seen} == {*range(slots)}


def test_the_others_are_those_made_last() -> None:
    """Against a table that is filled in by hand, with a head that moves, a queue that fills, and slots overwritten."""
    refresh, queue, head, pushed = prepared(0.25, [6, 4, 2], [2, 4, 0])
    table: dict[int, Tensor] = {}
    for at in range(9):
        before, in_turn = copy.deepcopy(head), refresh._in_turn().tolist()
        keys, held = refresh(head, queue, pushed)
        fresh = [slot for slot in held.slots.tolist() if slot in in_turn or slot in pushed.tolist()]
        made = before(queue.rows[fresh])
        table |= {slot: made[i].detach() for i, slot in enumerate(fresh)}
        assert held.slots.tolist() == queue.held().slots.tolist()
        torch.testing.assert_close(keys, torch.stack([table[slot] for slot in held.slots.tolist()]), rtol=0, atol=0)
        torch.testing.assert_close(head.state_dict(), before.state_dict())  # one pass, over what was refreshed
        with torch.no_grad():
            for p in head.parameters():
                p += 0.1 * torch.randn_like(p)
        labels = torch.tensor([[0, 2], [0, 0], [1, 0]][at % 3])
        pushed = queue.push(torch.randn(2, 5), labels, torch.tensor([at, at])) if at < 6 else NOTHING


def test_the_others_do_not_train_the_head() -> None:
    refresh, queue, head, pushed = prepared(0.25, [6, 2], [6, 2])
    refresh(head, queue, pushed)
    keys, held = refresh(head, queue, NOTHING)
    fresh = torch.isin(held.slots, torch.tensor([1, 5]))  # of 8, every fourth, one further than at first
    for rows, trains in ((keys[~fresh], False), (keys[fresh], True)):
        head.zero_grad()
        rows.square()[:, 0].sum().backward(retain_graph=True)
        assert bool((head.layers[3].weight.grad != 0).any()) is trains


def test_a_key_that_was_never_made_of_what_its_slot_holds_is_made_at_once() -> None:
    """A queue filled by hand, then one slot overwritten that nobody told of."""
    refresh, queue, head, _ = prepared(0.1, [6, 4], [6, 4])
    keys, held = refresh(copy.deepcopy(head), queue, NOTHING)
    torch.testing.assert_close(keys, copy.deepcopy(head)(queue.rows), rtol=0, atol=0)
    queue.push(torch.randn(1, 5), torch.tensor([1]), torch.tensor([77]))
    (slot,) = (queue.index == 77).nonzero()[:, 0].tolist()
    now, _ = refresh(copy.deepcopy(head).eval(), queue, NOTHING)
    torch.testing.assert_close(now[slot], copy.deepcopy(head).eval()(queue.rows)[slot], rtol=0, atol=1e-6)
    moved = (now != keys).any(1)
    assert held.slots[moved].tolist() == sorted({slot, 1})  # and the second of the ten, whose turn it is


def test_outside_training_every_key_is_made_anew_and_none_is_kept() -> None:
    refreshed, whole = task(Refresh(0.25)), task()
    trained(refreshed, 4)
    whole.load_state_dict({key: value for key, value in refreshed.state_dict().items() if "projection" not in key})
    before = copy.deepcopy(refreshed.state_dict())
    torch.testing.assert_close(refreshed.eval()(some_batch(9)), whole.eval()(some_batch(9)), rtol=0, atol=0)
    assert all(torch.equal(before[key], value) for key, value in refreshed.state_dict().items())


@pytest.mark.parametrize("projection", [Whole(), HalfPrecision(), Refresh(0.3)], ids=lambda p: type(p).__name__)
def test_saved_and_loaded_the_next_steps_are_bit_equal(projection: KeyProjection) -> None:
    first, again = task(copy.deepcopy(projection)), task(copy.deepcopy(projection))
    trained(first, 3)
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    states = [trained(each, 3) for each in (first, again)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize("projection", [HalfPrecision(), Refresh(0.3)], ids=lambda p: type(p).__name__)
def test_nothing_is_infinite_or_undefined(projection: KeyProjection) -> None:
    made = task(copy.deepcopy(projection))
    for training, labels in ((False, [0]), (True, [IGNORE]), (True, [1]), (True, [1, 3, 3]), (False, [0, 1])):
        made.train(training)
        made.zero_grad()
        loss = torch.stack(list(made(batch("rows", 3, torch.tensor(labels))).values())).sum()
        loss.backward()
        assert bool(loss.isfinite())
        assert all(bool(p.grad.isfinite().all()) for p in made.parameters() if p.requires_grad)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # each forked process runs one thread
def test_two_processes_refresh_as_one(tmp_path: Path) -> None:
    def job() -> dict[str, Tensor]:
        made = task(Refresh(0.3)).double()
        made.objective.query_head.layers[1] = torch.nn.Identity()  # it would see a rank's share
        make = made.forward
        made.forward = lambda given: make(given._replace(views=given.views.double()))  # type: ignore[method-assign]
        return trained(made, 5)

    alone = job()
    ranks = together(2, tmp_path, job)
    for key, value in alone.items():
        assert torch.equal(ranks[0][key], ranks[1][key])
        torch.testing.assert_close(ranks[0][key], value, rtol=0, atol=1e-9, msg=lambda m, k=key: f"{k}: {m}")


def test_half_precision_is_that_of_the_linear_layers() -> None:
    torch.manual_seed(0)
    queue, head = ClassQueue(torch.tensor([30, 10]), 32), Projection(32, 16)
    queue.push(torch.randn(40, 32), torch.tensor([0] * 30 + [1] * 10), torch.arange(40))
    (half, _), (single, _) = (copy.deepcopy(p)(copy.deepcopy(head), queue, NOTHING) for p in (HalfPrecision(), Whole()))
    assert half.dtype == queue.rows.dtype == torch.float32
    torch.testing.assert_close(half.norm(dim=1), torch.ones(40))
    error = float((half - single).detach().norm(dim=1).max())
    assert 1e-4 < error < 2e-2  # the rounding of bfloat16 is 2^-9
    with torch.autocast("cpu", dtype=torch.bfloat16):  # an engine of that precision
        assert torch.equal(Whole()(copy.deepcopy(head), queue, NOTHING)[0], half)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_beyond_all_or_of_nothing_is_refused(share: float) -> None:
    with pytest.raises(TailwiseError, match=r"share must lie in \(0, 1\]"):
        GML(COUNTS, Rows(4), projection=Refresh(share))
