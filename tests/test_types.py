"""The values that flow: every field says what it holds where the reference reads it, and where labels lie."""

import ast
import inspect

import pytest
import torch
from tiny import MODELS, SIDE

from tailwise.queue import Held, Keys
from tailwise.types import Batch, DenseOutput, ExpertOutput, Model, Output


@pytest.mark.parametrize("cls", [Batch, Output, ExpertOutput, DenseOutput, Model, Held, Keys], ids=lambda cls: cls.__name__)
def test_every_field_is_described(cls: type) -> None:
    (definition,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(definition, ast.ClassDef)
    fields = [at for at, node in enumerate(definition.body) if isinstance(node, ast.AnnAssign)]
    assert fields
    for at in fields:
        said = definition.body[at + 1]
        assert isinstance(said, ast.Expr), ast.unparse(definition.body[at])
        assert isinstance(said.value, ast.Constant)


@pytest.mark.parametrize(
    ("kind", "axes"), [("rows", (2,)), ("images", (2,)), ("pixels", (2, SIDE, SIDE)), ("dense", (2, SIDE, SIDE))]
)
def test_axes_are_those_of_the_labels(kind: str, axes: tuple[int, ...]) -> None:
    views = torch.zeros(1, 2, *((5,) if kind == "rows" else (3, SIDE, SIDE)))
    out = MODELS[kind](4)(views)
    assert out.axes == axes == tuple(out.at_labels().shape[:-1])
