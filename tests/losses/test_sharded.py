"""GML with a shared-out queue: on one process it is GML bit for bit, on several the same loss and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from losses.cases import F64, on_sphere
from tiny import Rows, batch
from torch import Tensor
from worlds import together

from tailwise import distributed
from tailwise.counts import count_labels, log_prior
from tailwise.kernels import ClassLSE, class_lse
from tailwise.losses import GML, GMLSharded, Refresh, gaussian_mixture, sharded_mixture
from tailwise.losses.heads import SharedRowNorm
from tailwise.losses.sharded import over_ranks
from tailwise.task import Task
from tailwise.types import Batch, TailwiseError

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # each forked process runs one thread
COUNTS, STEPS, BATCH = [60, 12, 3, 1], 4, 8


def share(given: Batch) -> Batch:
    each = BATCH // distributed.world()
    mine = slice(distributed.rank() * each, (distributed.rank() + 1) * each)
    return Batch(given.views[:, mine], given.labels[mine], given.index[mine], given.key[mine])


def train(cls: type[GML], **options: Any) -> dict[str, Tensor]:
    """State, terms and averaged gradients after a few steps in float64, with batch statistics in the key head alone."""
    torch.manual_seed(0)
    torch.set_default_dtype(F64)
    try:
        model = Rows(4)
        task = Task(model, cls(COUNTS, model, queue_size=24, **options))
        task.objective.query_head.layers[1] = torch.nn.Identity()  # it would see a rank's share
        optimizer, seen = torch.optim.SGD(task.parameters(), 0.1, momentum=0.9), {}
        for step in range(STEPS):
            labels = torch.randint(0, 4, (BATCH,), generator=torch.Generator().manual_seed(step))
            terms = task(share(batch("rows", 3, labels, step, BATCH * step)))
            optimizer.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            for p in task.parameters():
                if p.grad is not None:
                    p.grad = distributed.global_sum(p.grad) / distributed.world()
            optimizer.step()
            task.on_step()
            seen |= {f"{name}{step}": distributed.global_sum(t) / distributed.world() for name, t in terms.items()}
        return seen | task.state_dict()
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.03, "tau": 0.5}], ids=["defaults", "cold"])
def test_on_one_process_it_is_gml_bit_for_bit(options: dict[str, float]) -> None:
    ours, theirs = train(GMLSharded, **options), train(GML, **options)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_on_several_it_trains_as_gml_on_one_statistics_of_the_norm_included(tmp_path: Path) -> None:
    alone = train(GML)
    for rank in together(2, tmp_path, lambda: train(GMLSharded)):
        assert rank.keys() == alone.keys()
        for key, value in alone.items():
            torch.testing.assert_close(rank[key], value, rtol=0, atol=1e-9, msg=lambda m, k=key: f"{k}: {m}")


def problem(seed: int) -> tuple[Tensor, ...]:
    """Queries, labels, index, keys, their labels and index, log prior, counts, log temperature; the class 3 has no key."""
    key_labels, counts = torch.tensor([0, 0, 0, 0, 1, 1, 2]), torch.tensor([8, 3, 1, 5])
    filled = count_labels(key_labels, 4)
    of_keys = on_sphere(seed + 1, 7, 3), key_labels, torch.tensor([0, 7, 8, 9, 2, 6, 4]), log_prior(counts), filled
    return on_sphere(seed, 4, 3), torch.tensor([0, 2, 3, -100]), torch.tensor([0, 4, 5, 6]), *of_keys


def sums(lse: ClassLSE) -> Tensor:
    return torch.cat([torch.stack([lse.others, lse.own, lse.itself, lse.itself_keys.to(lse.own)]), lse.mean])


def test_sums_over_ranks_are_those_over_all_keys(tmp_path: Path) -> None:
    queries, labels, index, keys, key_labels, key_index, *_ = problem(1)

    def of(part: slice) -> Tensor:
        bias = torch.linspace(-1, 1, 7, dtype=F64)[part]
        return sums(over_ranks(class_lse(queries, keys[part], bias, 0.1, labels, key_labels[part], index, key_index[part])))

    whole = of(slice(None))
    for rank in together(2, tmp_path, lambda: of(slice(distributed.rank(), None, 2))):
        torch.testing.assert_close(rank, whole, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_the_mixture_over_all_keys(tmp_path: Path) -> None:
    """Of the sum over both ranks' queries: to a rank's own queries and keys, and to T summed over ranks."""
    queries, labels, index, keys, key_labels, key_index, *rest = problem(2)

    def gradients(mixture: Any, own_queries: slice, own_keys: slice) -> list[Tensor]:
        q, k = (x.clone().requires_grad_() for x in (queries[own_queries], keys[own_keys]))
        t = torch.tensor(0.2, dtype=F64).log().requires_grad_()
        of_queries = q, labels[own_queries], index[own_queries]
        terms = mixture(*of_queries, k, key_labels[own_keys], key_index[own_keys], *rest, t)
        (2 * terms.contrast.sum() + terms.temperature.sum()).backward()
        assert q.grad is not None
        assert k.grad is not None
        assert t.grad is not None
        return [q.grad, k.grad, distributed.global_sum(t.grad)]

    def shared() -> list[Tensor]:
        rank = distributed.rank()
        return gradients(sharded_mixture, slice(2 * rank, 2 * rank + 2), slice(rank, None, 2))

    q, k, t = gradients(gaussian_mixture, slice(None), slice(None))
    assert bool((k.abs().sum(1) > 0).all())
    for rank, (own_q, own_k, own_t) in enumerate(together(2, tmp_path, shared)):
        torch.testing.assert_close(own_q, q[2 * rank : 2 * rank + 2])
        torch.testing.assert_close(own_k, k[rank::2])
        torch.testing.assert_close(own_t, t)


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    """The state that two processes save is that of one, and what one goes on with, two do."""

    def losses(state: dict[str, Tensor] | None) -> dict[str, Any]:
        torch.manual_seed(0)
        task = Task(Rows(4), GMLSharded(COUNTS, Rows(4), queue_size=10)).double()
        task.objective.query_head.layers[1] = torch.nn.Identity()  # it would see a rank's share
        if state is not None:
            task.load_state_dict(state)
        seen = []
        for step in range(3):
            given = batch("rows", 3, torch.tensor([0, 0, 1, 2, 3, 0, 1, 0]), step, BATCH * step)
            terms = task(share(given._replace(views=given.views.double())))
            seen.append(distributed.global_sum(torch.stack(list(terms.values()))) / distributed.world())
        return {"seen": torch.stack(seen), **task.state_dict()}

    first, again = (tmp_path / name for name in ("first", "again"))
    first.mkdir()
    again.mkdir()
    state = together(2, first, lambda: losses(None))[0]
    state.pop("seen")
    expected = losses(state)["seen"]
    for rank in together(2, again, lambda: losses(state)):
        torch.testing.assert_close(rank["seen"], expected, rtol=0, atol=1e-9)


def test_its_key_head_has_shared_statistics() -> None:
    assert type(GMLSharded(COUNTS, Rows(4)).key_head.layers[1]) is SharedRowNorm
    assert type(GML(COUNTS, Rows(4)).key_head.layers[1]) is not SharedRowNorm


def test_keys_that_are_kept_are_refused() -> None:
    with pytest.raises(TailwiseError, match="Refresh"):
        GMLSharded(COUNTS, Rows(4), projection=Refresh(0.5))
