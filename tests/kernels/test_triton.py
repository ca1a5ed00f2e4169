"""The Triton backend in Triton's interpreter, against plain loops in float64."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from contract.nasty import VALUES
from torch import Tensor

from tailwise.kernels import reference
from tailwise.kernels.front import by
from tailwise.kernels.problem import EMPTY, ITSELF, OTHERS, OWN, Problem
from tailwise.types import IGNORE

triton = pytest.importorskip("triton")
pytestmark = pytest.mark.filterwarnings(
    "ignore:Conversion of an array with ndim > 0:DeprecationWarning"
)  # Triton's, of NumPy 1
F64 = torch.float64


@pytest.fixture(scope="module", autouse=True)
def language() -> Iterator[None]:
    """Before 3.6 the interpreter leaves Triton's language changed, which a compiler in the same process then trips over."""
    from triton import language as tl

    parts = [tl, tl.core, tl.math, tl.tensor, tl.dtype, *filter(None, [getattr(tl.core, "tensor_descriptor_base", None)])]
    before = [(part, dict(vars(part))) for part in parts]
    yield
    for part, attributes in before:
        for name in [name for name in vars(part) if name not in attributes]:
            delattr(part, name)
        for name, value in attributes.items():
            if vars(part).get(name) is not value:
                setattr(part, name, value)


def guarded(x: Tensor, fill: float) -> Tensor:
    """The same values with others right behind them, which a read beyond the end would find."""
    return torch.cat([x, x.new_full((64, *x.shape[1:]), fill)])[: len(x)]


def make(queries: int, keys: int, d: int, classes: int = 5, temperature: float = 0.5, dtype: Any = torch.float32) -> Problem:
    """Unit vectors, keys sorted by class, samples of which several keys are made."""
    generator = torch.Generator().manual_seed(queries + 31 * keys + 1009 * d)

    def unit(n: int) -> Tensor:
        return torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=1)

    def ids(n: int, most: int) -> Tensor:
        return torch.randint(most, (n,), generator=generator)

    labels, key_labels = ids(queries, classes), ids(keys, classes).sort().values
    return Problem(
        guarded((unit(queries) / temperature).to(dtype), torch.nan),
        guarded(unit(keys).to(dtype), torch.nan),
        guarded(torch.randn(keys, generator=generator), torch.nan),
        guarded(labels, 0), guarded(key_labels, 0), guarded(ids(queries, 4), 0), guarded(ids(keys, 4), 0),
    )  # fmt: skip


def loops(problem: Problem, grad: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Sums, gradients, and the sums of the sizes of what is added in a gradient: query by query, set by set."""
    queries, keys, bias = (x.to(F64) for x in problem[:3])
    lse, mean = torch.full((3, len(queries)), EMPTY, dtype=F64), torch.zeros(3, len(queries), dtype=F64)
    count = torch.zeros(len(queries), dtype=torch.int64)
    grads, sizes = ([torch.zeros_like(x) for x in (queries, keys, bias)] for _ in range(2))
    for i, q in enumerate(queries):
        scores = keys @ q
        same, itself = problem.key_labels == problem.labels[i], problem.key_index == problem.index[i]
        count[i] = (same & itself).sum()
        for at, members in ((OTHERS, ~same), (OWN, same & ~itself), (ITSELF, same & itself)):
            members = members & (bias > -1e29)
            if members.any():
                lse[at, i] = (scores + bias)[members].logsumexp(0)
                share = (scores + bias - lse[at, i]).exp() * members
                mean[at, i] = share @ scores
                for total, pull in ((grads, share * grad[at, i]), (sizes, (share * grad[at, i]).abs())):
                    k, vector = (keys, q) if total is grads else (keys.abs(), q.abs())
                    total[0][i] += pull @ k
                    total[1] += pull[:, None] * vector
                    total[2] += pull
    return [lse, mean, count], grads, sizes


def check(backend: ModuleType, problem: Problem, accuracy: float = 3e-6, rounding: float = 3e-6) -> None:
    """Both passes against the loops; what a sum may be off is in proportion to the sizes of what is added."""
    grad = torch.randn(3, len(problem.labels), generator=torch.Generator().manual_seed(1))
    (lse, mean, count), grads, sizes = loops(problem, grad.to(F64))
    sums, state = backend.forward(problem)
    torch.testing.assert_close(sums.lse.to(F64), lse, rtol=accuracy, atol=accuracy)
    torch.testing.assert_close(sums.mean.to(F64), mean, rtol=accuracy, atol=accuracy)
    assert torch.equal(sums.itself_keys, count)
    assert bool((sums.lse[lse == EMPTY] == EMPTY).all())
    assert bool((sums.mean[lse == EMPTY] == 0).all())
    results = backend.backward(state, sums.lse, grad)
    assert [x.dtype for x in results] == [x.dtype for x in problem[:3]]
    for found, exact, size in zip(results, grads, sizes, strict=True):
        assert bool(((found.to(F64) - exact).abs() <= rounding * size + 1e-30).all())


@pytest.mark.parametrize("shape", [(5, 37, 3), (33, 130, 48), (17, 64, 16), (1, 1, 1), (16, 33, 20)])
def test_equals_the_loops(small: ModuleType, shape: tuple[int, int, int]) -> None:
    check(small, make(*shape))


def test_the_blocks_of_the_gpu_give_the_same(backend: ModuleType) -> None:
    check(backend, make(70, 150, 20))
    check(backend, make(70, 150, 65))


def test_keys_need_no_order(small: ModuleType) -> None:
    problem = make(20, 100, 8)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    shuffled = {name: getattr(problem, name)[order] for name in ("keys", "bias", "key_labels", "key_index")}
    check(small, problem._replace(**shuffled))
    check(small, problem._replace(keys=problem.keys.T.contiguous().T))  # nor one layout


@pytest.mark.parametrize("repeats", [16, 32])  # in one block of each kernel, or in several
def test_blocks_without_a_common_class_are_known(small: ModuleType, repeats: int) -> None:
    """Eight classes of 32 keys: a block of queries of one class touches the one tile that holds it; ends are not passed."""
    labels = torch.tensor([2, 7]).repeat_interleave(repeats)[:-8]
    key_labels = torch.arange(8).repeat_interleave(32)[:250]
    problem = make(len(labels), 250, 4)._replace(labels=guarded(labels, 0), key_labels=guarded(key_labels, 0))
    touched = small.forward(problem)[1].touched
    assert torch.equal(touched.argmax(1), labels[::16])
    assert bool((touched.sum(1) == 1).all())
    check(small, problem)


def test_one_class_alone(small: ModuleType) -> None:
    problem = make(9, 40, 5, classes=1)
    assert bool((small.forward(problem)[0].lse[OTHERS] == EMPTY).all())
    check(small, problem)


def test_classes_and_samples_without_keys(small: ModuleType) -> None:
    problem = make(18, 70, 6)
    problem.labels[:6] = 17  # no key
    problem.index[6:12] = 17  # no key made from it
    problem.index[12:] = 2
    problem.key_index.fill_(2)  # only such keys
    sums = small.forward(problem)[0]
    for empty in (sums.lse[OWN:, :6], sums.lse[ITSELF, 6:12], sums.lse[OWN, 12:]):
        assert empty.eq(EMPTY).all()
    check(small, problem)


def test_ignored_labels_are_labels(small: ModuleType) -> None:
    problem = make(18, 70, 6)
    problem.labels[::2] = IGNORE
    problem.key_labels[:20] = IGNORE
    check(small, problem)


@pytest.mark.parametrize("bias", [EMPTY, -torch.inf])
def test_absent_keys_are_not_there(small: ModuleType, bias: float) -> None:
    """All keys of class 1, and some of every other."""
    problem = make(40, 90, 6)
    problem.bias[(problem.key_labels == 1) | (torch.arange(90) % 3 == 0)] = bias
    assert small.forward(problem)[0].lse[OWN:, problem.labels == 1].eq(EMPTY).all()
    check(small, problem)
    problem.bias.fill_(bias)
    check(small, problem)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # of the interpreter
def test_nan_reaches_every_sum_of_its_query_and_no_other(small: ModuleType) -> None:
    problem = make(40, 90, 6)
    problem.labels[0] = 17  # no key
    right = small.forward(problem)[0]
    problem.queries[:3] = torch.nan
    sums = small.forward(problem)[0]
    assert torch.equal(sums.lse[:, :3].isnan(), right.lse[:, :3] > EMPTY / 2)
    assert sums.lse[OWN:, 0].eq(EMPTY).all()
    assert sums.mean[OWN:, 0].eq(0).all()
    for found, expected in zip(sums, right, strict=True):
        assert torch.equal(found[..., 3:], expected[..., 3:])


def test_what_is_changed_in_place_before_the_backward_pass_is_noticed(small: ModuleType) -> None:
    problem = make(20, 60, 12)
    keys = problem.keys.requires_grad_()
    sums = by(small, problem)
    keys.detach()[0] += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        sums.lse[OTHERS].sum().backward()


def test_only_the_gradients_that_are_wanted_are_made(small: ModuleType) -> None:
    problem = make(20, 60, 12)
    sums, state = small.forward(problem)
    grad = torch.ones_like(sums.lse)
    queries, keys, bias = small.backward(state, sums.lse, grad, (True, False, False))
    assert keys is bias is None
    assert torch.equal(queries, small.backward(state, sums.lse, grad)[0])


def test_a_cold_temperature(small: ModuleType) -> None:
    """Scores up to ±100, whose rounding in float32 (4e-6) is that of the logarithm and of every share."""
    check(small, make(33, 130, 2, temperature=0.01), accuracy=3e-5, rounding=1e-4)


@pytest.mark.parametrize("values", ["±1e4", "all 1e4", "zeros", "1e-30", "all rows equal", "antipodal rows"])
def test_nasty_numbers_are_finite(small: ModuleType, values: str) -> None:
    """At a cold temperature, and with absent keys."""
    problem = make(20, 60, 12)
    queries, keys = (VALUES[values](x[None].double())[0].float() for x in problem[:2])
    problem = problem._replace(queries=queries / 0.01, keys=keys.contiguous())
    problem.bias[::3] = EMPTY
    sums, state = small.forward(problem)
    grads = small.backward(state, sums.lse, torch.ones_like(sums.lse))
    assert all(bool(x.isfinite().all()) for x in (*sums, *grads))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_inputs_lose_nothing_but_the_rounding_of_shares(small: ModuleType, dtype: torch.dtype) -> None:
    """Products of 16-bit numbers are exact in float32. A share becomes bfloat16, so do float16 vectors, and the gradient
    is rounded at the end: 2⁻⁷ each, since the interpreter cuts off what a GPU rounds.
    """
    check(small, make(33, 130, 16, dtype=dtype), rounding=3 * 2**-7)


@pytest.mark.parametrize(("queries", "keys"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_in_nothing_out(small: ModuleType, queries: int, keys: int) -> None:
    check(small, make(queries, keys, 4))


def test_gradients_reach_what_the_reference_reaches(small: ModuleType) -> None:
    grads = []
    for compute in (lambda problem: by(small, problem), reference.sums):
        problem = make(20, 60, 12)
        leaves = [x.detach().clone().requires_grad_() for x in problem[:3]]
        sums = compute(Problem(*leaves, *problem[3:]))
        weight = torch.arange(60.0).view(3, 20).cos().masked_fill(sums.lse <= EMPTY / 2, 0)
        grads.append(torch.autograd.grad((sums.lse * weight).sum(), leaves))
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_second_run_gives_the_same_bits_and_nothing_given_is_changed(small: ModuleType) -> None:
    problem, grad = make(20, 100, 8), torch.ones(3, 20)
    before = [x.clone() for x in problem]
    runs = []
    for _ in range(2):
        sums, state = small.forward(problem)
        kept = [x.clone() for x in (*sums, grad)]
        runs.append([*sums, *small.backward(state, sums.lse, grad)])
        assert all(map(torch.equal, kept, (*sums, grad)))
    assert all(map(torch.equal, *runs))
    assert all(map(torch.equal, before, problem))


def test_what_is_supported(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = torch.zeros(2, 128)
    assert backend.supports(narrow, narrow)
    assert not backend.supports(narrow, narrow.double())
    assert not backend.supports(narrow.bfloat16(), narrow.bfloat16())
    assert not backend.supports(torch.zeros(2, 129), torch.zeros(2, 129))
    monkeypatch.setattr(backend.kernels, "forward", object.__new__(triton.JITFunction))
    assert not backend.supports(narrow, narrow)  # compiled, but no GPU
