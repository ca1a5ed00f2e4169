"""The list of wrong versions that `python -m soak.mutants` tries: each still fits its file, and some are tried here."""

import ast
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    """The part of the soak, which is not installed with the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return importlib.import_module("soak.mutants")


def test_every_mutant_still_fits_its_file(soak: ModuleType) -> None:
    mutants = soak.mutants()
    assert len(mutants) >= soak.ASKED
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in mutants}) == len(mutants)
    for mutant in mutants:
        source = (ROOT / "tailwise" / mutant.file).read_text(encoding="utf-8")
        assert ast.dump(ast.parse(mutant.applied(source))) != ast.dump(ast.parse(source)), mutant.what
        assert all((ROOT / "tests" / name).is_file() for name in mutant.tests), mutant.what


def test_a_mutant_whose_place_is_gone_is_refused(soak: ModuleType) -> None:
    mutant = soak.mutants()[0]
    for source in ("", 2 * mutant.old):
        with pytest.raises(ValueError, match=r"mend soak/mutants.yaml"):
            mutant.applied(source)


@pytest.mark.parametrize(
    ("code", "said", "caught"),
    [
        (1, "F.\nFAILED tests/test_x.py::test_y[1-2] - assert 1 == 2\n1 failed", "tests/test_x.py::test_y[1-2]"),
        (0, "2 passed", None),
        (1, "ERROR tests/test_x.py::test_y - a fixture broke", None),
        (2, "ERROR tests/test_x.py\nInterrupted: 1 error during collection", None),
        (None, "", None),
    ],
)
def test_only_a_test_that_fails_catches_a_mutant(soak: ModuleType, code: int | None, said: str, caught: str | None) -> None:
    assert soak.verdict(code, said) == caught


def spoilt(soak: ModuleType, what: str) -> dict[str, Any]:
    """What the file of a mutant defines with the mistake in it."""
    (mutant,) = (mutant for mutant in soak.mutants() if mutant.what == what)
    names: dict[str, Any] = {"__name__": "spoilt"}
    exec(mutant.applied((ROOT / "tailwise" / mutant.file).read_text(encoding="utf-8")), names)
    return names


def test_two_of_them_are_as_wrong_as_they_say(soak: ModuleType) -> None:
    groups = spoilt(soak, "many-shot from 100 on: >= instead of >")["shot_groups"]([101, 100, 99])
    assert groups["many"].tolist() == [True, True, False]
    loss = spoilt(soak, "logit adjustment without the log prior")["logit_adjusted"]
    assert loss(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0.9, 0.1]).log()).item() == pytest.approx(0.6931, abs=1e-4)
