"""The Triton backend of the class-wise log-sum-exp on a GPU: right first, then how fast.

python -m benchmarks.gpu_kernels

The target: forward and backward in at most twice the time of three bf16 products with outputs written, q kᵀ, G k and
Gᵀ q, at B = 1024, K = 262144, d = 128. Rows are printed as they are known, and what fails does not stop the rest.
"""

import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

import torch
from torch import Tensor

from benchmarks.dense import floor
from benchmarks.measure import Row, peak_mib, seconds
from benchmarks.problem import lse_problem, mixture_problem
from tailwise.kernels import reference, streaming
from tailwise.kernels.front import by
from tailwise.kernels.problem import EMPTY, ITSELF, OTHERS, OWN, Problem, Sums

SIZES = (1024, 262144, 8142, 128)
"""Queries, keys, classes and width of what is timed."""
LARGE = 17_000_000
"""Keys of width 128 that no 32-bit offset reaches."""


def gradient(lse: Tensor) -> Tensor:
    """(3, B) some gradient to the log-sum-exps of sets with keys."""
    made = torch.Generator(lse.device).manual_seed(1)
    return torch.randn(lse.shape, generator=made, device=lse.device).masked_fill(lse <= EMPTY / 2, 0)


def results(backend: ModuleType, problem: Problem) -> list[Tensor]:
    """Log-sum-exps, means, counts, and gradients to queries, keys and bias."""
    sums, state = backend.forward(problem)
    return [*sums, *backend.backward(state, sums.lse, gradient(sums.lse))]


def exact(problem: Problem) -> list[Tensor]:
    """The same by the reference in float64."""
    queries, keys, bias = (x.double().requires_grad_() for x in problem[:3])
    sums = reference.sums(Problem(queries, keys, bias, *problem[3:]))
    return [*sums, *torch.autograd.grad((sums.lse * gradient(sums.lse.float())).sum(), [queries, keys, bias])]


def error(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖ / ‖expected‖ where something is expected; infinite where a number is not finite."""
    present = expected > EMPTY / 2
    found, expected = found.double()[present], expected.detach().double()[present]
    if not bool(found.isfinite().all()):
        return float("inf")
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))


FLOOR = "three products"
NAMES = ("lse", "mean", "keys of its own", "queries'", "keys'", "bias's")


def attempt(name: str, work: Callable[[], Row]) -> Row:
    """A row, or why there is none: the rest is still worth having."""
    try:
        return {"what": name, **work()}
    except Exception as failure:
        return {"what": name, "failed": f"{type(failure).__name__}: {str(failure)[:300]}"}


def agreement(triton: ModuleType, problem: Problem, sums: float, gradients: float) -> Row:
    """Errors against the reference in float64, beside those of the streaming backend; and which are above the limits."""
    truth, ours, others = exact(problem), results(triton, problem), results(streaming, problem)
    errors = {name: error(x, y) for name, x, y in zip(NAMES, ours, truth, strict=True)}
    limits = dict.fromkeys(NAMES[:3], sums) | dict.fromkeys(NAMES[3:], gradients)
    wrong = [f"{name} {errors[name]:.1e} > {limits[name]:.0e}" for name in NAMES if not errors[name] <= limits[name]]
    if not bool((ours[0][truth[0] <= EMPTY / 2] == EMPTY).all()):
        wrong.append("an empty set is not EMPTY")
    if not all(map(torch.equal, ours, results(triton, problem))):
        wrong.append("a second run gives other bits")
    streamed = max(error(x, y) for x, y in zip(others, truth, strict=True))
    return {"error": max(errors.values()), "streaming's error": streamed, "wrong": "; ".join(wrong)}


def check(triton: ModuleType, device: str = "cuda", keys: int = 8000, large: int = LARGE) -> Iterator[Row]:
    """Every dtype, ragged sizes, a cold temperature, keys in any order, labels that nothing has, offsets beyond 2³¹."""
    for dtype, width, limits in (
        (torch.float32, 128, (1e-5, 2e-5)), (torch.float32, 20, (1e-5, 2e-5)), (torch.bfloat16, 128, (1e-5, 1e-2)),
        (torch.bfloat16, 256, (1e-5, 1e-2)), (torch.float16, 100, (1e-5, 1e-2)),
    ):  # fmt: skip
        problem = lse_problem(mixture_problem(300, keys + 7, 50, width, device), dtype)
        if triton.supports(problem.queries, problem.keys):
            yield attempt(f"{dtype}, {width} wide", functools.partial(agreement, triton, problem, *limits))
    problem = lse_problem(mixture_problem(130, keys, 9, 64, device), torch.float32, temperature=0.01)
    yield attempt("float32, cold", lambda: agreement(triton, problem, 1e-5, 2e-4))
    order = torch.randperm(keys, device=device)
    shuffled = {name: getattr(problem, name)[order] for name in ("keys", "bias", "key_labels", "key_index")}
    labels = torch.where(torch.arange(130, device=device) % 3 == 0, -100, problem.labels)
    mixed = problem._replace(**shuffled, labels=labels)
    yield attempt("float32, cold, in any order", lambda: agreement(triton, mixed, 1e-5, 2e-4))
    yield attempt(f"{large} keys", lambda: check_large(triton, large, device))


def check_large(triton: ModuleType, keys: int, device: str) -> Row:
    """Against products of torch: log-sum-exps of others, and the gradients of the last keys."""
    dtype, last = torch.bfloat16 if device == "cuda" else torch.float32, slice(keys - 1000, keys)
    problem = lse_problem(mixture_problem(16, keys, 1000, SIZES[3], device), dtype)
    lse, _, _, _, key_grad, bias_grad = results(triton, problem)
    scores = problem.queries.float() @ problem.keys.float().T + problem.bias
    same = problem.labels[:, None] == problem.key_labels
    expected = scores.masked_fill(same, EMPTY).logsumexp(1)
    itself = same[:, last] & (problem.index[:, None] == problem.key_index[last])
    which = torch.where(itself, ITSELF, torch.where(same[:, last], OWN, OTHERS))
    of_set, weight = (table.T.gather(1, which) for table in (lse, gradient(lse)))
    pull = (scores[:, last] - of_set).exp() * weight * (problem.bias[last] > EMPTY / 2)
    errors = [error(lse[OTHERS], expected), error(key_grad[last], pull.T @ problem.queries.float())]
    wrong = "" if errors[0] < 1e-5 and errors[1] < 1e-2 and error(bias_grad[last], pull.sum(0)) < 1e-5 else "wrong"
    return {"error": max(errors), "wrong": wrong}


def milliseconds(run: Callable[[], object]) -> float:
    """Median of eleven runs."""
    return 1e3 * seconds({"": run}, repeats=11, warm_up=3)[""]


def graph(run: Callable[[], object]) -> Callable[[], None]:
    """The same work without the host between its kernels."""
    run()
    torch.cuda.synchronize()
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        run()
    return recorded.replay


def by_autograd(sums: Callable[[Problem], Sums], problem: Problem) -> Callable[[], object]:
    """Forward and backward as a training step does them."""
    queries, keys, bias = (x.detach().requires_grad_() for x in problem[:3])
    given = Problem(queries, keys, bias, *problem[3:])
    grad = gradient(sums(given).lse.detach())
    return lambda: torch.autograd.grad(sums(given).lse, [queries, keys, bias], grad)


def by_hand(triton: ModuleType, problem: Problem) -> Callable[[], object]:
    """Forward and backward without autograd, which a graph can record."""
    grad = gradient(triton.forward(problem)[0].lse)

    def run() -> object:
        sums, state = triton.forward(problem)
        return sums, triton.backward(state, sums.lse, grad)

    return run


def contestants(triton: ModuleType, problem: Problem) -> dict[str, Callable[[], Callable[[], object]]]:
    """What is timed, and how it is made ready; the floor comes first."""
    queries, keys = problem.queries, problem.keys
    pull = torch.randn(len(queries), len(keys), device=queries.device).to(queries.dtype)
    order = torch.randperm(len(keys), device=keys.device)
    mixed = problem._replace(key_labels=problem.key_labels[order], key_index=problem.key_index[order])
    return {
        FLOOR: lambda: lambda: floor(queries, keys, pull),
        "triton, forward": lambda: lambda: triton.forward(problem),
        "triton": lambda: by_autograd(lambda given: by(triton, given), problem),
        "triton, as a graph": lambda: graph(by_hand(triton, problem)),
        "triton, keys in any order": lambda: by_autograd(lambda given: by(triton, given), mixed),
        "streaming": lambda: by_autograd(lambda given: by(streaming, given), problem),
        "reference, compiled": lambda: by_autograd(torch.compile(reference.sums), problem),
    }


def race(triton: ModuleType, dtype: torch.dtype) -> Iterator[Row]:
    """Times, ratios to the floor, and memory beyond the inputs; forward and backward where nothing else is said."""
    problem, times = lse_problem(mixture_problem(*SIZES, "cuda"), dtype), {FLOOR: math.nan}

    def timed(name: str, ready: Callable[[], Callable[[], object]]) -> Row:
        run = ready()
        times[name] = milliseconds(run)
        memory = math.nan if "graph" in name else peak_mib(run)
        return {"dtype": str(dtype), "ms": times[name], "times the floor": times[name] / times[FLOOR], "MiB": memory}

    for name, ready in contestants(triton, problem).items():
        yield attempt(name, functools.partial(timed, name, ready))


def measure(device: str = "cuda") -> dict[str, list[Row]]:
    """Both tables; none, and a word about it, where there is no GPU."""
    if device != "cuda":
        print("gpu_kernels: needs a GPU")
        return {}
    from tailwise.kernels import triton

    checked = told(check(triton))
    raced = told(row for dtype in (torch.bfloat16, torch.float32) for row in race(triton, dtype))
    return {"Triton against the reference in float64": checked, f"Triton, B, K, C, d = {', '.join(map(str, SIZES))}": raced}


def told(rows: Iterable[Row]) -> list[Row]:
    """The same rows, each printed as soon as it is known; what is not finite in words, as JSON needs it."""
    found = []
    for row in rows:
        row |= {key: str(cell) for key, cell in row.items() if isinstance(cell, float) and not math.isfinite(cell)}
        print(row, flush=True)
        found.append(row)
    return found


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("gpu_kernels: needs a GPU")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    if any(row.get("wrong") or row.get("failed") for rows in measure().values() for row in rows):
        sys.exit("gpu_kernels: some results are wrong or missing, see above")
