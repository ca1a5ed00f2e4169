"""Nasty numbers: finite losses and gradients, or a refusal by name before the step. At length: ``python -m soak.numbers``."""

import inspect

import pytest
import torch
from contract.nasty import BATCHES, COUNTS, FINITE, PRECISIONS, SCALED, Cell, carried, outcome, poisoned
from contract.nasty_draws import cells, questions
from contract.nasty_kernels import Question, answered
from contract.subjects import OBJECTIVES
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import MODELS, batch

from tailwise.losses import BCL, ELM, GCL, GML, RCL, RIDE, TSC, VS, CrossEntropy, Objective, PairHinge, ProCo, gcl
from tailwise.task import Task
from tailwise.types import IGNORE, TailwiseError

USUAL = COUNTS, [0, 1, 2, 3, 0, IGNORE]
STEEP = [10**9, 0, 1, 0], [0, 1, 2, 3]


@settings(max_examples=200)
@given(st.one_of(cells(), cells(), cells(), questions()))
def test_any_numbers_are_finite_or_refused(drawn: Cell | tuple[str, Question]) -> None:
    """A sample of what `soak.numbers` draws. Whatever else is raised fails."""
    found = outcome(drawn, (True, True)) if isinstance(drawn, Cell) else answered(*drawn)
    assert "\n" not in found


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("values", ["±1e4", "all 1e4", "zeros in one row"])
@pytest.mark.parametrize("cls", [CrossEntropy, BCL, ELM], ids=lambda cls: cls.__name__)
def test_hostile_numbers_of_every_precision(cls: type[Objective], values: str, precision: str) -> None:
    """Sixty-four features of 10⁴: their sums pass the largest number of float16."""
    found = outcome(Cell(cls, "rows", *USUAL, values, PRECISIONS[precision], dim=64))
    if (cls, precision) == (BCL, "fp16 heads"):
        assert found == "Projection: float16 overflows in its layers; use autocast (16-mixed), or bfloat16"
    else:
        assert found in (FINITE, SCALED)
    assert found != SCALED or precision.startswith("fp16")


@pytest.mark.parametrize(
    ("cls", "options", "precision"),
    [
        (ELM, {"gamma": 1.0}, "fp16 heads"),  # a rarity of 10⁹
        (ELM, {"gamma": 40.0}, "fp64"),
        (RIDE, {"reweight": 1 - 1e-8, "reweight_from": 0.0, "diversity": 0.0}, "fp32"),
        (ProCo, {"width": 1}, "fp32"),
        (RCL, {"scale": 1e-12}, "fp32"),
    ],
)
def test_options_at_the_ends_of_their_ranges(cls: type[Objective], options: dict[str, float], precision: str) -> None:
    assert outcome(Cell(cls, "rows", *STEEP, "normal", PRECISIONS[precision], options)) in (FINITE, SCALED)


@pytest.mark.parametrize("cls", OBJECTIVES, ids=lambda cls: cls.__name__)
def test_options_that_are_no_numbers_are_refused(cls: type[Objective]) -> None:
    for option in (p.name for p in list(inspect.signature(cls).parameters.values())[2:] if p.annotation is float):
        for value in (float("nan"), float("inf"), 1e-200, 1e7):
            with pytest.raises(TailwiseError, match=f"^{cls.__name__}: {option} is {value}; give 0 or a size of 1e-12 to 1e"):
                cls(COUNTS, MODELS["rows"](4), **{option: value})


def test_options_that_numbers_cannot_follow_are_refused() -> None:
    with pytest.raises(TailwiseError, match=r"VS: gamma 5\.0 gives the rarest class the temperature 1e\+45; lower it"):
        VS(STEEP[0], MODELS["rows"](4), gamma=5.0)
    with pytest.raises(TailwiseError, match=r"PairHinge: power must lie in \[1, 16\]"):
        PairHinge(power=0.5)
    with pytest.raises(TailwiseError, match="PairHinge: shrink is nan"):
        PairHinge(shrink=float("nan"))
    with pytest.raises(TailwiseError, match="TSC: cannot match 20000 classes"):
        TSC([1] * 20_000, MODELS["rows"](20_000))
    assert carried(VS, STEEP[0], {"gamma": 2.2, "tau": 0.5}) == FINITE


def test_the_temperature_of_the_mixture_has_bounds() -> None:
    """One step of its parameter may be as long as 1 / T times the learning rate."""
    model = MODELS["rows"](4)
    task = Task(model, GML(COUNTS, model))
    for log_temperature in (1e3, -1e3):
        task.objective.log_temperature.data.fill_(log_temperature)
        for step in range(2):
            terms = task(batch("rows", 3, torch.tensor(USUAL[1]), step))
            torch.stack(list(terms.values())).sum().backward()
        assert all(bool(p.grad.isfinite().all()) for p in task.parameters() if p.grad is not None)


def test_the_clouds_of_many_classes_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = GCL(COUNTS, MODELS["rows"](4))
    whole = objective.carried_log_prior
    monkeypatch.setattr(gcl, "AT_ONCE", 40)
    torch.testing.assert_close(objective.carried_log_prior, whole)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("cls", OBJECTIVES, ids=lambda cls: cls.__name__)
def test_a_row_of_nan_is_told(cls: type[Objective], value: float) -> None:
    """Nothing that is not finite gets into a gradient without a term that tells."""
    found = poisoned(cls, value)
    assert found == FINITE or found.startswith("training: term ")


def test_compiled_it_is_the_same() -> None:
    for values in ("normal", "±1e4", "zeros"):
        cell = Cell(CrossEntropy, "rows", *BATCHES["one image of a class"], values, PRECISIONS["fp32"])
        assert outcome(cell, (True, True), lambda task: torch.compile(task, dynamic=True)) == FINITE
