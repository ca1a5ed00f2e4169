"""A sample of `soak.metrics`: figures against scikit-learn on random label sets, and however these are cut."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    """The part of the soak, which is not installed with the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        return importlib.import_module("soak.metrics")


def test_figures_are_those_of_scikit_learn_and_of_any_cut(soak: ModuleType) -> None:
    worst, cut, kinds = soak.measure(8)
    assert {name for name, value in worst.items() if not value <= soak.BOUND} == set()
    assert {name for name in soak.COUNTED if worst[name]} == set()
    assert {name for name, value in cut.items() if not value <= soak.REORDERED} == set()
    assert {name for name in cut if cut[name] and "order" not in name} == set()
    assert all(kinds[kind] for kind in list(soak.draw(0).kinds())[:6])


def test_what_is_undefined_on_one_side_alone_is_infinitely_far(soak: ModuleType) -> None:
    assert soak.gap([0.5, None], [0.5, None]) == 0
    assert soak.gap([0.5, float("nan")], [0.25, None]) == 0.25
    assert soak.gap([0.5, 0.0], [0.5, None]) == soak.gap([0.5], [0.5, 0.5]) == float("inf")
