"""Mistakes inside the options of a class, and values that are none of a few: one line each, with what would be right."""

from typing import Any

import pytest

from tailwise.train import parse
from tailwise.train.explain import nearest
from tailwise.types import TailwiseError

BELOW = "recipe: the options of a class go below init_args, beside its class_path"


def refusal(recipe: dict[str, Any], *words: str) -> str:
    with pytest.raises(TailwiseError) as caught:
        parse.build(parse.resolve(recipe, words))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def gml(**options: Any) -> dict[str, Any]:
    return {"objective": {"class_path": "GML", "init_args": options}}


def refresh(**options: Any) -> dict[str, Any]:
    return gml(projection={"class_path": "tailwise.losses.Refresh", "init_args": options})


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (gml(projection="Refesh"), "no projection 'Refesh'; did you mean Refresh?"),
        (gml(projection={"class_path": "Hole"}), "no projection 'Hole'; did you mean Whole?"),
        (
            gml(projection={"class_path": "tailwise.losses.Refesh"}),
            "no projection 'tailwise.losses.Refesh'; did you mean Refresh?",
        ),
        (gml(projection="KeyProjektion"), "no projection 'KeyProjektion'; known: HalfPrecision, Refresh, Whole"),
        (
            gml(projection="tailwise.losses.BCL"),
            "projection: tailwise.losses.BCL is no KeyProjection; name a class derived from tailwise.losses.keys.KeyProjection",
        ),
        (gml(projection=3), "no projection '3'; known: HalfPrecision, Refresh, Whole"),
        (refresh(shares=0.1), "Refresh has no option 'shares'; did you mean share?"),
        (refresh(share="x"), "recipe: objective.projection.share must be a number, got 'x'"),
        (gml(projection={"class_path": "Whole", "init_args": {"share": 1}}), "Whole has no option 'share'; it has none"),
        (gml(projection={"class_path": "Refresh", "share": 1}), BELOW),
        ({"objective": {"class_path": "BCL", "temperature": 1}}, BELOW),
        ({"sampler": {"class_path": "ClassBalanced", "x": 1}}, BELOW),
        (gml(teacher="Frozn"), "no teacher 'Frozn'; did you mean Frozen?"),
        (gml(teacher={"class_path": "Frozen"}), "recipe: objective.teacher needs the option 'network'"),
        (
            gml(teacher={"class_path": "Frozen", "init_args": {"network": {"class_path": "Savd"}}}),
            "recipe: objective.teacher.network: no class 'Savd'",
        ),
        (gml(queue_size="many"), "recipe: objective.queue_size must be a whole number, got 'many'"),
        (
            {"schedule": {"class_path": "Cosine", "init_args": {"warmup": "x"}}},
            "recipe: schedule.warmup must be a number, got 'x'",
        ),
        ({"sampler": {"class_path": "ClassBalanced", "init_args": {"x": 1}}}, "ClassBalanced has no option 'x'; it has none"),
        ({"engine": {"compile": "maybe"}}, "recipe: engine.compile must be one of true, false, graphs, got 'maybe'"),
        ({"engine": {"progress": "loud"}}, "recipe: engine.progress must be one of auto, bar, lines, none, got 'loud'"),
        ({"data": {"views": [{"simaugment": None}]}}, "recipe: data.views must be text or a mapping, got 'None'"),
        ({"data": {"views": "shift"}}, "recipe: data.views must be a list, got 'shift'"),
    ],
)
def test_a_mistake_in_a_recipe(recipe: dict[str, Any], expected: str) -> None:
    assert refusal(recipe) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--objective.projection=Refesh",), "no projection 'Refesh'; did you mean Refresh?"),
        (("--objective.projection", "Refresh", "--objective.projection.shares", "0.1"), "Refresh has no option 'shares'"),
        (
            ("--objective.projection", "Refresh", "--objective.projection.share", "x"),
            "objective.projection.share must be a number",
        ),
        (("--objective.projection.share", "1"), "objective.projection needs a class before its option 'share'; known: Half"),
        (("--engine.compile", "maybe"), "engine.compile must be one of true, false, graphs, got 'maybe'"),
        (("--model.classifier", "cos"), "model.classifier must be one of auto, linear, cosine, scaled, got 'cos'"),
    ],
)
def test_a_mistake_in_an_override(words: tuple[str, ...], expected: str) -> None:
    assert expected in refusal({}, "--objective", "GML", *words)


def test_the_nearest_of_no_words() -> None:
    assert nearest("word", []) == "it has none"
