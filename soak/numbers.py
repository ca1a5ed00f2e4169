"""Never a NaN: every objective and kernel on nasty numbers, eager and compiled; then numbers that hypothesis draws.

python -m soak.numbers [--draws 50000] [--seed 0] [--every 1] [--minutes 600] [--compile-minutes 15] [--device cpu]
"""

import argparse
import itertools
import random
import resource
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from hypothesis import HealthCheck, given, seed, settings

from soak.record import Part

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the table is the one of the contract

from contract.nasty import (
    BATCHES,
    COUNTS,
    FINITE,
    MANY,
    PRECISIONS,
    SCALED,
    VALUES,
    Cell,
    Forward,
    carried,
    many,
    outcome,
    poisoned,
)
from contract.nasty_draws import cells, questions
from contract.nasty_kernels import KERNELS, Question, answered
from contract.subjects import OBJECTIVES, arguments
from hypothesis import strategies as st

from tailwise.task import Task
from tailwise.types import IGNORE

USUAL = COUNTS, [0, 1, 2, 3, 0, IGNORE]
SITUATIONS: list[tuple[str, tuple[list[int], list[int]], str, dict[str, float]]] = [
    *((name, batch, "normal", {}) for name, batch in BATCHES.items()),
    *((values, USUAL, values, {}) for values in VALUES),
    *(("temperature 0.01", USUAL, values, {"temperature": 0.01}) for values in VALUES),
]
"""Every row of the table: batches of usual numbers, numbers in usual batches, and these at a cold temperature."""
COMPILED = ["normal", "±1e4", "zeros", "antipodal rows"]
"""What compiled objectives are given, in usual batches and in the hostile ones."""
COLD = ["class_lse, reference", "class_lse, streaming", "von Mises-Fisher", "tables of counts"]
"""Kernels that have a temperature."""
AT_ONCE = 1_000
"""Draws between two looks at the clock."""
TRAINING = True, True
Case = TypeVar("Case")


class Tally:
    """Outcomes by kind of input and by column, refusals by who refused, and what went wrong."""

    def __init__(self) -> None:
        self.cases: dict[str, Counter[str]] = defaultdict(Counter)
        self.refused: Counter[str] = Counter()
        self.broken: list[str] = []
        self.number = self.scaled = 0

    def take(self, row: str, column: str, about: str, run: Callable[..., str], *given: Any) -> None:
        """Run one case; whatever it raises is a counter-example."""
        self.number += 1
        try:
            found = run(*given)
        except Exception:
            reason = traceback.format_exc().strip().splitlines()[-1]
            self.broken.append(f"{about}: {reason}")
            print("BROKEN", self.broken[-1], flush=True)
            return
        if found in (FINITE, SCALED):
            self.cases[row][column] += 1
            self.scaled += found == SCALED
        else:
            self.cases[row]["refused"] += 1
            self.refused[found.split(":")[0]] += 1

    def found(self) -> str:
        """In words."""
        finite = self.number - self.refused.total() - len(self.broken)
        return f"{self.number:,} cases: {finite:,} finite, {self.refused.total():,} refused by name, {len(self.broken)} neither"

    def take_drawn(self, drawn: Any) -> None:
        """Run a case that hypothesis drew; raises what it raises."""
        self.number += 1
        found = outcome(drawn, TRAINING) if isinstance(drawn, Cell) else answered(*drawn)
        self.scaled += found == SCALED
        self.refused.update([] if found in (FINITE, SCALED) else [found.split(":")[0]])

    def why(self) -> str:
        """Who refused, and the first that broke."""
        by = ", ".join(f"{name} {n:,}" for name, n in self.refused.most_common(12))
        scaled = (
            [f"{self.scaled:,} of float16 after the loss was scaled down, their slopes being above 65504"]
            if self.scaled
            else []
        )
        return "; ".join(([f"refused by {by}"] if by else []) + scaled + self.broken[:3])

    def told(self, part: Part, name: str, asked: str, columns: Sequence[str]) -> None:
        """The promise, which a column without a single finite case breaks: nothing was tried there."""
        empty = [column for column in columns if not any(cases[column] for cases in self.cases.values())]
        why = "; ".join(filter(None, [f"nothing in {', '.join(empty)}" if empty else "", self.why()]))
        part.add(name, asked, self.found(), not self.broken and not empty, why)

    def rows(self, columns: list[str]) -> list[dict[str, object]]:
        """The table."""
        return [{"input": row, **{column: self.cases[row][column] for column in columns}} for row in self.cases]


def some(whole: Iterable[Case], every: int) -> list[Case]:
    """One in so many of a table's cells, drawn: each row and column has its share."""
    draw = random.Random(0)
    return [case for case in whole if draw.random() < 1 / every]


def eager(part: Part, every: int, device: str) -> None:
    """All objectives on the whole table, or on one in so many cells of it."""
    tally = Tally()
    whole = itertools.product(OBJECTIVES, ("rows", "pixels"), SITUATIONS, PRECISIONS)
    for cls, kind, (row, batch, values, options), column in some(whole, every):
        if options.keys() <= arguments(cls):
            cell = Cell(cls, kind, *batch, values, PRECISIONS[column], options, device=device)
            tally.take(row, column, f"{cls.__name__}, {kind}, {row}, {values}, {column}", outcome, cell)
    asked = "finite loss and gradients, or a refusal by name"
    tally.told(part, f"{len(OBJECTIVES)} objectives on nasty numbers, {device}", asked, list(PRECISIONS))
    part.table("Cases of objectives with finite loss and gradients, four steps each", tally.rows([*PRECISIONS, "refused"]))


def kernels(part: Part, every: int) -> None:
    """All kernels in four precisions."""
    tally, columns = Tally(), ["fp64", "fp32", "bf16", "fp16"]
    whole = itertools.product(KERNELS, SITUATIONS, columns)
    for name, (row, batch, values, options), column in some(whole, every):
        if not options or name in COLD:
            asked = Question(*batch, values, PRECISIONS[column].given, options.get("temperature", 0.1), seed=len(options))
            tally.take(row, column, f"{name}, {row}, {values}, {column}", answered, name, asked)
    tally.told(part, f"{len(KERNELS)} kernels on the same", "finite values and gradients", columns)
    part.table("Cases of kernels", tally.rows([*columns, "refused"]))


def classes(part: Part) -> None:
    """Up to 100,000 classes whose counts fall from 10⁹, and the memory that it takes."""
    tally = Tally()
    for row, number in MANY.items():
        counts, labels = many(number)
        for cls in OBJECTIVES:
            cell = Cell(cls, "rows", counts, labels, "normal", PRECISIONS["fp32"])
            tally.take(row, cls.__name__, f"{cls.__name__}, {row}", outcome, cell, TRAINING)
            tally.take(row, "prior", f"{cls.__name__}, prior, {row}", carried, cls, counts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    found = f"{tally.found()}; {peak:.1f} GiB at most"
    part.add(
        "100,000 classes, counts from 0 to 10⁹", "as above, below 8 GiB", found, not tally.broken and peak < 8, tally.why()
    )


def poison(part: Part) -> None:
    """NaN and infinity among what a model says."""
    tally = Tally()
    for cls in OBJECTIVES:
        for value in (float("nan"), float("inf"), -float("inf")):
            tally.take("given", "fp32", f"{cls.__name__}, {value}", poisoned, cls, value)
    asked = "the step is named, or nothing is touched"
    part.add("A row of NaN or infinity in the input", asked, tally.found(), not tally.broken, tally.why())


def compile_task(task: Task) -> Forward:
    """A task as a user would compile it."""
    made: Forward = torch.compile(task, dynamic=True)
    return made


def compiled(part: Part, minutes: float, names: list[str]) -> None:
    """Objectives under torch.compile, with their models, as long as there is time."""
    tally, late, end = Tally(), [], time.perf_counter() + 60 * minutes
    torch._dynamo.config.recompile_limit = 64
    for cls in OBJECTIVES:
        if time.perf_counter() > end or (names and cls.__name__ not in names):
            late.append(cls.__name__)
            continue
        torch._dynamo.reset()
        rows = [(v, USUAL, v) for v in COMPILED] + [(b, BATCHES[b], "normal") for b in ("one image of a class", "C = 1")]
        for row, batch, values in rows:
            cell = Cell(cls, "rows", *batch, values, PRECISIONS["fp32"])
            tally.take(row, "compiled", f"{cls.__name__}, {row}, compiled", outcome, cell, TRAINING, compile_task)
        print(f"compiled {cls.__name__}: {tally.found()}", flush=True)
    graphs = f"{len(OBJECTIVES) - len(late)} of {len(OBJECTIVES)} objectives, {tally.found()}"
    why = "; ".join(
        ([f"not asked for, or not in time: {', '.join(late)}"] if late else []) + ([tally.why()] if tally.why() else [])
    )
    kept = not tally.broken and not late
    part.add("The same under torch.compile, float32", "all objectives", graphs, kept, why)
    part.table("Cases of compiled objectives", tally.rows(["compiled", "refused"]))


def draws(part: Part, number: int, start: int, minutes: float) -> None:
    """What hypothesis draws: objectives three times of four, else kernels; a counter-example is shrunk and printed."""
    tally, end = Tally(), time.perf_counter() + 60 * minutes
    any_case = st.one_of(cells(), cells(), cells(), questions())
    for turn in range(0, number, AT_ONCE):
        if tally.broken or time.perf_counter() > end:
            break
        size = min(AT_ONCE, number - turn)
        options = settings(max_examples=size, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        try:
            seed(start + turn)(options(given(any_case)(tally.take_drawn)))()
        except Exception as error:
            tally.broken.append(" ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]))
            print("BROKEN", tally.broken[-1], flush=True)
        print(f"draws: {tally.found()}", flush=True)
    why = tally.why() + ("" if tally.number >= number else f"; stopped after {minutes:g} minutes")
    kept = not tally.broken and tally.number >= number
    part.add("Numbers that hypothesis draws", f"{number:,} draws, no counter-example", tally.found(), kept, why)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="of the table's cells, one in so many")
    parser.add_argument("--minutes", type=float, default=600.0, help="for the draws at most")
    parser.add_argument("--compile-minutes", type=float, default=15.0, help="for torch.compile at most")
    parser.add_argument("--compile", nargs="*", default=[], help="objectives to compile; all of them if none is named")
    parser.add_argument("--device", default="cpu", help="of the table: cpu or cuda")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    part = Part("numbers", "Never a NaN")
    try:
        kernels(part, asked.every)
        poison(part)
        eager(part, asked.every, asked.device)
        classes(part)
        draws(part, asked.draws, asked.seed, asked.minutes)
        compiled(part, asked.compile_minutes, asked.compile)
    finally:  # what was found until it was interrupted
        part.write()
