"""The tile-by-tile log-sum-exp against the reference: values, means, gradients; any order of keys, any size of tile."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_leaves

from tailwise.kernels import reference, streaming
from tailwise.kernels.front import by
from tailwise.kernels.problem import EMPTY, Problem, Sums

F64 = torch.float64


def problem(
    seed: int, queries: int, keys: int, classes: int, dtype: torch.dtype = F64, temperature: float = 0.5, width: int = 5
) -> Problem:
    """Keys in random order of classes; some queries without a label, some classes without keys, some keys absent."""
    made = torch.Generator().manual_seed(seed)

    def rows(n: int) -> Tensor:
        return torch.nn.functional.normalize(torch.randn(n, width, generator=made, dtype=F64), dim=1).to(dtype)

    bias = torch.randn(keys, generator=made, dtype=F64).to(dtype)
    bias[::7] = EMPTY
    return Problem(
        (rows(queries) / temperature).requires_grad_(), rows(keys).requires_grad_(), bias.requires_grad_(),
        torch.randint(-1, classes + 1, (queries,), generator=made), torch.randint(0, classes, (keys,), generator=made),
        torch.randint(0, 4, (queries,), generator=made), torch.randint(0, 4, (keys,), generator=made),
    )  # fmt: skip


def in_order(given: Problem) -> Problem:
    order = torch.argsort(given.key_labels, stable=True)
    keys, bias = (x.detach()[order].requires_grad_() for x in (given.keys, given.bias))
    return given._replace(keys=keys, bias=bias, key_labels=given.key_labels[order], key_index=given.key_index[order])


def gradients(sums: Sums, given: Problem) -> tuple[Tensor, ...]:
    weight = torch.randn(sums.lse.shape, generator=torch.Generator().manual_seed(1), dtype=F64)
    present = (sums.lse > EMPTY / 2).to(weight.dtype)
    loss = (sums.lse.clamp(min=-1e9) * weight * present).sum()
    return torch.autograd.grad(loss, (given.queries, given.keys, given.bias))


def compare(given: Problem, rtol: float = 1e-9, atol: float = 1e-10) -> None:
    slow, fast = reference.sums(given), by(streaming, given)
    for expected, found in zip((*slow, *gradients(slow, given)), (*fast, *gradients(fast, given)), strict=True):
        torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


@pytest.fixture(params=[(128, 0), (128, 1 << 20), (1 << 20, 1 << 20)], ids=["again", "kept", "one tile"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    tile, kept = request.param
    monkeypatch.setattr(streaming, "TILE", tile)
    monkeypatch.setattr(streaming, "KEPT", kept)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("queries", "keys", "classes"), [(1, 1, 1), (7, 200, 1), (9, 333, 3), (30, 500, 60), (3, 64, 5)])
def test_equals_the_reference(queries: int, keys: int, classes: int) -> None:
    given = problem(queries, queries, keys, classes)
    compare(given)
    compare(in_order(given))


@given(st.integers(0, 2**20), st.integers(1, 6), st.integers(1, 20), st.integers(1, 4))
def test_equals_the_reference_on_any_small_problem(seed: int, queries: int, keys: int, classes: int) -> None:
    compare(problem(seed, queries, keys, classes))


@pytest.mark.usefixtures("tiles")
def test_a_cold_temperature_in_float32() -> None:
    """Scores of ±100: sums of 1e43 and of 1e−43, neither of which float32 can hold."""
    compare(problem(3, 6, 300, 4, torch.float32, temperature=0.01, width=2), rtol=1e-4, atol=1e-4)


def test_no_queries_or_no_keys() -> None:
    for queries, keys in ((0, 5), (5, 0), (0, 0)):
        sums = by(streaming, problem(0, queries, keys, 2))
        assert sums.lse.shape == sums.mean.shape == (3, queries)
        assert bool((sums.lse == EMPTY).all())
        assert bool((sums.mean == 0).all())
        sums.lse.sum().backward()


def test_a_set_of_absent_keys_gives_no_gradient() -> None:
    given = problem(0, 4, 6, 1)
    given = given._replace(bias=torch.full((6,), EMPTY, dtype=F64, requires_grad=True))
    sums = by(streaming, given)
    assert bool((sums.lse == EMPTY).all())
    grads = torch.autograd.grad(sums.lse.sum(), (given.queries, given.keys, given.bias))
    assert all(bool((grad == 0).all()) for grad in grads)


def test_own_keys_are_counted() -> None:
    given = problem(5, 12, 90, 3)
    assert torch.equal(by(streaming, given).itself_keys, reference.sums(given).itself_keys)
    assert int(by(streaming, given).itself_keys.sum()) > 0


@pytest.mark.parametrize("classes", [1, 3, 1000])
def test_no_more_bytes_are_kept_than_said(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of classes; beyond it only what has the length of queries or keys."""
    monkeypatch.setattr(streaming, "KEPT", 1 << 20)
    given, (queries, keys) = problem(0, 64, 2000, classes, torch.float32), (64, 2000)
    before = {x.untyped_storage().data_ptr() for x in given}
    kept = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tree_leaves(streaming.forward(given)[1])
            if x is not None}  # fmt: skip
    bytes_kept = sum(size for place, size in kept.items() if place not in before) - 50 * keys
    assert (4 * queries * keys - 50 * keys <= bytes_kept <= 1 << 20) if classes > 1 else bytes_kept <= 100 * queries


def test_the_backward_pass_can_be_repeated() -> None:
    given = problem(1, 5, 40, 2)
    sums = by(streaming, given)
    first, second = (torch.autograd.grad(sums.lse[0].sum(), given.queries, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
