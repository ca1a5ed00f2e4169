"""Cells and questions of the table of `contract.nasty`, as hypothesis draws them."""

import inspect
from typing import Any

from contract.nasty import BATCHES, COUNTS, PRECISIONS, VALUES, Cell
from contract.nasty_kernels import KERNELS, Question
from contract.subjects import OBJECTIVES
from hypothesis import strategies as st

from tailwise.losses import Objective
from tailwise.types import IGNORE

NUMBERS = [0.0, 1e-12, 1e-4, 0.01, 0.3, 0.999999, 1.0, 2.0, 30.0, 1e6, -1.0, float("nan"), float("inf")]
"""Values of any option that is a number; what is out of its range has to be refused."""
WHOLE = [0, 1, 2, 5, 16]
"""Values of any option that counts something."""
SIZES = st.sampled_from([0, 1, 2, 3, 12, 60, 5000, 10**9])


def options(cls: type[Objective]) -> dict[str, list[Any]]:
    """What each option of a class may be drawn as."""
    kinds = {float: NUMBERS, int: WHOLE, int | None: WHOLE[1:]}
    parameters = list(inspect.signature(cls).parameters.values())[2:]
    return {p.name: kinds[p.annotation] for p in parameters if p.annotation in kinds and p.name != "samples"}


OPTIONS = {cls: options(cls) for cls in OBJECTIVES}


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Class counts and labels: those of the table, or any."""
    if draw(st.booleans()):
        return BATCHES[draw(st.sampled_from(list(BATCHES)))]
    counts = draw(st.lists(SIZES, min_size=1, max_size=5).filter(any))
    labels = draw(st.lists(st.sampled_from([IGNORE, *range(len(counts))]), min_size=1, max_size=6))
    return counts, labels


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    """An objective with at most two options that are not their defaults, and what it is given."""
    cls = draw(st.sampled_from(OBJECTIVES))
    counts, labels = draw(batches()) if draw(st.booleans()) else (COUNTS, [0, 1, 2, 3, 0, IGNORE])
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS[cls])), max_size=2, unique=True)) if OPTIONS[cls] else []
    return Cell(
        cls,
        draw(st.sampled_from(["rows", "rows", "pixels"])),
        counts,
        labels,
        draw(st.sampled_from(list(VALUES))),
        PRECISIONS[draw(st.sampled_from(list(PRECISIONS)))],
        {name: draw(st.sampled_from(OPTIONS[cls][name])) for name in names},
        draw(st.sampled_from([1, 2, 6])),
        draw(st.integers(0, 3)),
    )


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, Question]:
    """A kernel, and what it is asked."""
    counts, labels = draw(batches())
    dtype = PRECISIONS[draw(st.sampled_from(["fp64", "fp32", "bf16", "fp16"]))].given
    temperature = draw(st.sampled_from([1e-6, 1e-4, 0.01, 0.1, 1.0, 1e4]))
    width, values, seed = draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from(list(VALUES))), draw(st.integers(0, 3))
    return draw(st.sampled_from(list(KERNELS))), Question(counts, labels, values, dtype, temperature, width, seed)
