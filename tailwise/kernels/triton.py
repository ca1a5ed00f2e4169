"""The class-wise log-sum-exp on a GPU: no buffer of B K numbers, and the same bits in every run.

The forward pass reads the keys once. It also keeps, per query, the softmax-weighted mean of the keys of other classes:
that is the gradient of their log-sum-exp to the query, so that the backward pass computes the scores once instead of
twice. Fastest where keys are sorted by class.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from tailwise.kernels import triton_kernels as kernels
from tailwise.kernels.problem import EMPTY, OTHERS, Problem, Sums


class Blocks(NamedTuple):
    """How a kernel cuts a problem: queries and keys in a block, warps that share one, and blocks loaded ahead."""

    queries: int
    keys: int
    warps: int
    stages: int


BY_QUERIES = {256: Blocks(128, 64, 8, 3), 1024: Blocks(64, 32, 8, 2)}
"""For the kernels that keep queries and loop over keys, by the `weight` of a row at most."""
BY_KEYS = {256: Blocks(64, 128, 8, 3), 1024: Blocks(32, 64, 8, 2)}
"""For the kernel that keeps keys and loops over queries."""


class Cut(NamedTuple):
    """A problem in blocks: the axes of a kernel's grid, and what the kernel knows when it is compiled."""

    rows: int  # blocks of queries
    tiles: int  # blocks of keys
    splits: int  # shares of the tiles, so that few queries keep a whole GPU busy
    share: int  # tiles in one
    options: dict[str, Any]


class State(NamedTuple):
    """What the backward pass needs of the forward pass."""

    problem: Problem
    centre: Tensor  # (B, d) softmax-weighted mean of the keys of other classes
    touched: Tensor  # (rows, tiles) which blocks may have a class in common


def padded(d: int) -> int:
    """The width that the tensor cores work on."""
    return max(int(triton.next_power_of_2(d)), 16)


def weight(rows: Tensor) -> int:
    """Bytes of a row where it is used; a float32 becomes two numbers."""
    return padded(rows.shape[1]) * rows.element_size() * (2 if rows.dtype == torch.float32 else 1)


def cut(problem: Problem, by: dict[int, Blocks]) -> Cut:
    """The blocks of a problem; a function of shapes, dtype and GPU, never of timings, so that runs can be repeated."""
    (queries, d), device = problem.queries.shape, problem.queries.device
    blocks = next(blocks for most, blocks in by.items() if weight(problem.queries) <= most)
    rows, tiles = triton.cdiv(queries, blocks.queries), triton.cdiv(len(problem.keys), blocks.keys)
    programs = 2 * torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4
    share = triton.cdiv(tiles, max(programs // max(rows, 1), 1)) or 1
    shape = {"D": d, "WIDTH": padded(d), "DTYPE": tl.float32 if problem.queries.dtype == torch.float32 else tl.bfloat16}
    launch = {"num_warps": blocks.warps, "num_stages": blocks.stages, "enable_fp_fusion": True}
    options = {**shape, "QUERIES": blocks.queries, "KEYS": blocks.keys, **launch}
    return Cut(rows, tiles, triton.cdiv(tiles, share) or 1, share, options)


def touching(problem: Problem, given: Cut) -> Tensor:
    """(rows, tiles) int8: which blocks of queries and keys may have a class in common."""
    touched = torch.empty(given.rows, given.tiles, dtype=torch.int8, device=problem.queries.device)
    sizes = {"QUERIES": given.options["QUERIES"], "KEYS": given.options["KEYS"]}
    counts = len(problem.queries), len(problem.keys)
    kernels.touch[(given.tiles,)](problem.labels, problem.key_labels, touched, *counts, **sizes)
    return touched


def on(device: torch.device) -> AbstractContextManager[Any]:
    """Kernels start on the current GPU, which need not be the one of the tensors."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def supports(queries: Tensor, keys: Tensor) -> bool:
    """Whether both are bfloat16 or float16 and at most 256 wide, or float32 and 128, on one NVIDIA GPU of sm_80 or later.

    In Triton's interpreter, which needs no GPU, float32 alone: it multiplies the bits of bfloat16 as integers.
    """
    dtype, device = queries.dtype, queries.device
    if (dtype, device) != (keys.dtype, keys.device) or weight(queries) > max(BY_QUERIES):
        return False
    if not isinstance(kernels.forward, triton.JITFunction):
        return dtype == torch.float32
    served = dtype in (torch.float32, torch.bfloat16, torch.float16) and queries.is_cuda and torch.version.cuda is not None
    return served and torch.cuda.get_device_capability(device) >= (8, 0)


def forward(problem: Problem) -> tuple[Sums, State]:
    """See `Sums`; in float32, whatever the dtype of the queries. Time O(B K d), memory O(B d + K)."""
    problem = Problem(*(x.contiguous() for x in problem))
    (queries, d), given = problem.queries.shape, cut(problem, BY_QUERIES)
    parts = problem.queries.new_empty(given.splits, 7, queries, dtype=torch.float32)
    centres = problem.queries.new_empty(given.splits, queries, d, dtype=torch.float32)
    sizes = queries, len(problem.keys), given.tiles, given.share
    with on(parts.device):
        touched = touching(problem, given)
        kernels.forward[(given.rows, given.splits)](*problem, touched, parts, centres, *sizes, **given.options)
    shares = torch.softmax(parts[:, :3], 0)  # (splits, 3, B) what a split is of each set
    lse = parts[:, :3].amax(0) - shares.amax(0).log()  # an empty set stays EMPTY: the logarithm is lost beside it
    mean, centre = (shares * parts[:, 3:6]).sum(0), (shares[:, OTHERS, :, None] * centres).sum(0)
    return Sums(lse, mean, parts[:, 6].sum(0).long()), State(problem, centre, touched)


def backward(
    state: State, lse: Tensor, grad: Tensor, wanted: Sequence[bool] = (True, True, True)
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients to queries (B, d), keys (K, d) and bias (K,), from the log-sum-exps (3, B) and their gradients.

    Those of keys and bias are computed together, and are not where neither is ``wanted``.
    """
    problem, by_queries, by_keys = state.problem, cut(state.problem, BY_QUERIES), cut(state.problem, BY_KEYS)
    (queries, d), keys = problem.queries.shape, len(problem.keys)
    padding = (0, -queries % max(by_queries.options["QUERIES"], by_keys.options["QUERIES"]))  # queries that pull nothing
    lse = lse.masked_fill(lse <= EMPTY / 2, -EMPTY) / math.log(2)  # a set without keys has no gradient
    lse, grad = F.pad(lse, padding, value=-EMPTY).contiguous(), F.pad(grad, padding).contiguous()
    query_grad = state.centre.new_empty(by_queries.splits, queries, d)
    results = (torch.empty_like(problem.keys), torch.empty_like(problem.bias)) if any(wanted[1:]) else None
    with on(grad.device):
        if results:
            touched = touching(problem, by_keys)
            kernels.key_gradients[(by_keys.tiles,)](
                *problem, touched, lse, grad, *results, queries, keys, lse.shape[1], **by_keys.options
            )
        kernels.own_gradients[(by_queries.rows, by_queries.splits)](
            *problem, state.touched, lse, grad, query_grad, queries, keys, by_queries.tiles, by_queries.share, lse.shape[1],
            **by_queries.options,
        )  # fmt: skip
    whole = query_grad.sum(0).addcmul_(grad[OTHERS, :queries, None], state.centre)
    return whole.to(problem.queries.dtype), *(results or (None, None))
