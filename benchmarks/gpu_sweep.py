"""Which blocks are fastest for the Triton backend on this GPU: what its tables `BY_QUERIES` and `BY_KEYS` were chosen by.

python -m benchmarks.gpu_sweep

The host's share is left out, because launches are the same for all blocks.
"""

import sys
from collections.abc import Iterator
from types import ModuleType

import torch

from benchmarks.gpu_kernels import SIZES, attempt, by_hand, graph, milliseconds, told
from benchmarks.measure import Row
from benchmarks.problem import lse_problem, mixture_problem

BLOCKS = {
    "BY_QUERIES": [(128, 64, 8, 3), (128, 64, 8, 2), (128, 128, 8, 2), (64, 64, 4, 3), (64, 128, 4, 2), (128, 32, 8, 4)],
    "BY_KEYS": [(64, 128, 8, 3), (64, 128, 8, 2), (64, 64, 4, 3), (128, 128, 8, 2), (32, 128, 8, 4), (128, 64, 4, 2)],
}
"""To compare: queries, keys, warps, stages."""


def sweep(triton: ModuleType) -> Iterator[Row]:
    """How long forward, and forward and backward, take with other blocks, one table at a time."""
    problem = lse_problem(mixture_problem(*SIZES, "cuda"), torch.bfloat16)

    def timed() -> Row:
        runs = {"forward ms": lambda: triton.forward(problem), "both ms": by_hand(triton, problem)}
        return {name: milliseconds(graph(run)) for name, run in runs.items()}

    for table, candidates in BLOCKS.items():
        usual = getattr(triton, table)
        for blocks in candidates:
            setattr(triton, table, {max(usual): triton.Blocks(*blocks)})
            yield attempt(f"{table} {blocks}", timed)
        setattr(triton, table, usual)


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("gpu_sweep: needs a GPU")
    from tailwise.kernels import triton

    told(sweep(triton))
