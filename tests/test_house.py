"""The house rules that a machine can check: sizes, docstrings, and what a recipe says about itself."""

import ast
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import tailwise
from tailwise.train.parse import read, shipped

ROOT = Path(tailwise.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FILE, LOSS, LEARNER, RECIPE = 250, 120, 60, 30
"""Lines: all of a file, a loss and a recipe; of the learner those that hold code."""


def code_lines(source: str) -> int:
    """Lines that hold code: neither blank, nor comment, nor docstring."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(1 for at, line in lines if line.strip() and not line.strip().startswith("#") and at not in documented)


def test_code_lines_leave_out_blanks_comments_and_docstrings() -> None:
    assert code_lines('"""Doc."""\n\n# why\ndef f():\n    """Two\n    lines."""\n    return 1  # because\n') == 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path: Path) -> None:
    source, place = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
    assert len(source.splitlines()) <= FILE
    if place.parts[0] == "losses":
        assert len(source.splitlines()) <= LOSS
    if place.as_posix() == "train/learner.py":
        assert code_lines(source) <= LEARNER


def undocumented(name: str) -> Iterator[str]:
    """Public classes, functions and methods of a module without a docstring of their own or of what they override."""
    module = importlib.import_module(name)
    if not inspect.getdoc(module):
        yield name
    for public, thing in vars(module).items():
        if public.startswith("_") or getattr(thing, "__module__", None) != name:
            continue
        if inspect.isclass(thing) or inspect.isfunction(thing):
            doc = thing.__doc__ or ""
            if not doc or doc.startswith(f"{public}("):  # a dataclass writes its signature where there is none
                yield f"{name}.{public}"
        if inspect.isclass(thing):
            for attribute, member in vars(thing).items():
                if attribute.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
                    continue
                if not inspect.getdoc(getattr(thing, attribute)):
                    yield f"{name}.{public}.{attribute}"


MODULES = ["tailwise", *(found.name for found in pkgutil.walk_packages(tailwise.__path__, "tailwise."))]
if importlib.util.find_spec("triton") is None:  # torch brings it on Linux alone
    MODULES = [name for name in MODULES if not name.startswith("tailwise.kernels.triton")]


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_is_documented(name: str) -> None:
    assert list(undocumented(name)) == []


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_recipe_is_short_and_says_what_it_is(name: str) -> None:
    assert len(shipped()[name].read_text(encoding="utf-8").splitlines()) <= RECIPE
    about = read(name)["about"]
    assert about["row"]
    assert about["command"] == f"tailwise fit --recipe {name}"
