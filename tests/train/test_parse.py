"""Recipes: bases, overlays, overrides, and errors that name the nearest right word."""

from pathlib import Path

import pytest
import yaml

from tailwise.losses import BCL, GML, LogitAdjusted
from tailwise.train import explain, parse
from tailwise.train.optim import Cosine, Steps
from tailwise.types import TailwiseError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(recipe: dict[str, object], *words: str) -> str:
    with pytest.raises(TailwiseError) as caught:
        parse.build(parse.resolve(recipe, words))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_base_is_laid_under_what_differs(tmp_path: Path) -> None:
    write(tmp_path, "far.yaml", "epochs: 7\noptim: {lr: 0.5, momentum: 0.8}\n")
    write(tmp_path, "near.yaml", "base: far.yaml\noptim: {lr: 0.25}\n")
    last = write(tmp_path, "own.yaml", "base: near.yaml\nseed: 3\n")
    assert parse.read(last) == {"epochs": 7, "optim": {"lr": 0.25, "momentum": 0.8}, "seed": 3}


def test_a_base_may_be_a_shipped_recipe(tmp_path: Path) -> None:
    own = write(tmp_path, "own.yaml", "base: digits_lt/la\nepochs: 2\n")
    recipe = parse.build(parse.resolve(parse.read(own), ()))
    assert recipe.epochs == 2
    assert recipe.data.imbalance_factor == 50


def test_another_class_does_not_inherit_options_and_the_same_class_does() -> None:
    base = {"objective": {"class_path": "BCL", "init_args": {"temperature": 0.2, "width": 8}}, "epochs": 3}
    other = parse.overlay(base, {"objective": {"class_path": "LogitAdjusted"}})
    assert other == {"objective": {"class_path": "LogitAdjusted"}, "epochs": 3}
    same = {"objective": {"class_path": "BCL", "init_args": {"width": 16}}}
    assert parse.overlay(base, same)["objective"]["init_args"] == {"temperature": 0.2, "width": 16}
    unnamed = parse.overlay(base, {"objective": {"init_args": {"width": 16}}})["objective"]
    assert unnamed == {"class_path": "BCL", "init_args": {"temperature": 0.2, "width": 16}}
    assert base["objective"] == {"class_path": "BCL", "init_args": {"temperature": 0.2, "width": 8}}  # left alone


@pytest.mark.parametrize("loop", [("a",), ("a", "b"), ("a", "b", "c")])
def test_a_circle_of_bases_is_refused_with_its_members(tmp_path: Path, loop: tuple[str, ...]) -> None:
    for name, base in zip(loop, (*loop[1:], loop[0]), strict=True):
        write(tmp_path, f"{name}.yaml", f"base: {base}.yaml\n")
    with pytest.raises(TailwiseError, match=r"circle.*" + " -> ".join(f"{n}.yaml" for n in (*loop, loop[0]))):
        parse.read(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: nowhere.yaml\n", "no recipe 'nowhere.yaml'"),
        ("epochs: [1\n", "not readable YAML"),
        ("- epochs\n", "expected keys and values, got list"),
        ("12\n", "expected keys and values, got int"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TailwiseError, match=message) as caught:
        parse.read(write(tmp_path, "own.yaml", text))
    assert "\n" not in str(caught.value)


def test_an_empty_recipe_is_all_defaults(tmp_path: Path) -> None:
    recipe = parse.build(parse.resolve(parse.read(write(tmp_path, "own.yaml", "")), ()))
    assert (recipe.data.source, recipe.epochs) == ("digits", 30)
    assert isinstance(recipe.schedule, Cosine)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(TailwiseError, match="no recipe 'digits_lt/gmll'; did you mean digits_lt/gml"):
        parse.read("digits_lt/gmll")
    with pytest.raises(TailwiseError, match=r"known: .*digits_lt/…"):
        parse.read("zzzzzz")


@pytest.mark.parametrize(
    ("recipe", "words", "expected"),
    [
        ({"epochz": 3}, (), "'epochz'; did you mean epochs?"),
        ({"optim": {"lrr": 0.1}}, (), "'optim.lrr'; did you mean optim.lr?"),
        ({"data": {"imbalanse_factor": 3}}, (), "did you mean data.imbalance_factor?"),
        ({}, ("--optim.momentun", "0.5"), "no option 'optim.momentun'; did you mean optim.momentum?"),
        ({}, ("--objective", "LogitAdjust"), "no objective 'LogitAdjust'; did you mean LogitAdjusted?"),
        ({"objective": "gmll"}, (), "no objective 'gmll'; did you mean GML?"),
        ({}, ("--objective=GML", "--objective.queue_sise=9"), "GML has no option 'queue_sise'; did you mean queue_size?"),
        (
            {"objective": {"class_path": "LogitAdjusted", "init_args": {"taw": 1}}},
            (),
            "LogitAdjusted has no option 'taw'; did you mean tau?",
        ),
        ({}, ("--epochs", "many"), "epochs must be a whole number, got 'many'"),
        ({}, ("--data.imbalance_factor", "big"), "data.imbalance_factor must be a number, got 'big'"),
        ({}, ("--epochs", "-1"), "epochs must be at least 0"),
        ({}, ("--epochs", "0"), "model.start_from must name a trained run"),
        ({}, ("--schedule.warmpu=3",), "Cosine has no option 'warmpu'; did you mean warmup?"),
        ({}, ("--sampler=Clasbalanced",), "no sampler 'Clasbalanced'; did you mean ClassBalanced?"),
        ({}, ("--post_hoc=tailwise.losses.BCL",), "post_hoc: tailwise.losses.BCL is no PostHoc"),
        (
            {"post_hoc": {"class_path": "Drops", "init_args": {"dleta": 1}}},
            (),
            "Drops has no option 'dleta'; did you mean delta?",
        ),
        ({}, ("--optim.lr", "-1"), "optim.lr must be at least 0"),
        ({}, ("--optim.nesterov=true", "--optim.momentum=0"), "nesterov"),
        ({}, ("--engine.check_every", "0"), "engine.check_every must be at least 1"),
        ({}, ("--engine.workers", "-1"), "engine.workers must be at least 0"),
        ({}, ("--data.image_size", "0"), "data.image_size must be at least 1"),
        ({"epochs": [1, 2]}, (), "epochs"),
        ({"schedule": "Kosine"}, (), "schedule"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_would_be_right(
    recipe: dict[str, object], words: tuple[str, ...], expected: str
) -> None:
    assert expected in refusal(recipe, *words)


def test_overrides_go_on_top_of_a_recipes_class_options() -> None:
    recipe = {"objective": {"class_path": "BCL", "init_args": {"temperature": 0.2, "width": 8}}}
    changed = parse.resolve(recipe, ("--objective.width", "16", "--optim.lr=0.3"))
    assert vars(changed.objective.init_args)["width"] == 16
    assert vars(changed.objective.init_args)["temperature"] == 0.2
    assert changed.optim.lr == 0.3


def test_another_objective_on_top_of_a_recipe_drops_the_options_that_it_does_not_have() -> None:
    recipe = {"objective": {"class_path": "BCL", "init_args": {"temperature": 0.2, "width": 8}}}
    built = parse.build(parse.resolve(recipe, ("--objective=LogitAdjusted", "--objective.tau=1.5")))
    assert built.objective.args[-1] is LogitAdjusted or built.objective.func is LogitAdjusted  # type: ignore[attr-defined]
    assert "temperature" not in built.objective.keywords  # type: ignore[attr-defined]


def test_a_schedule_is_named_with_its_options() -> None:
    words = ("--schedule=Steps", "--schedule.warmup=2", "--schedule.milestones=[3,4]")
    schedule = parse.build(parse.resolve({}, words)).schedule
    assert isinstance(schedule, Steps)
    assert (schedule.warmup, schedule.milestones) == (2, (3, 4))


def test_what_is_dumped_resolves_to_itself() -> None:
    recipe = parse.read("digits_lt/bcl")
    record = parse.resolve(recipe, ("--objective.width=8", "--schedule=Steps", "--data.views=[shift, {crop_flip: {pad: 2}}]"))
    text = parse.dump(record)
    again = parse.resolve(yaml.safe_load(text), ())
    assert parse.dump(again) == text
    assert parse.build(again).data == parse.build(record).data
    assert yaml.safe_load(text)["objective"]["init_args"]["width"] == 8
    assert yaml.safe_load(text)["data"]["largest"] is None  # what is unset is written down too


@pytest.mark.parametrize("name", sorted(parse.shipped()))
def test_a_shipped_recipe_resolves_and_says_what_it_is(name: str) -> None:
    recipe = parse.read(name)
    record = parse.resolve(recipe, ())
    assert recipe["about"]["row"]
    assert recipe["about"]["command"] == f"tailwise fit --recipe {name}"
    assert parse.dump(parse.resolve(yaml.safe_load(parse.dump(record)), ())) == parse.dump(record)
    assert len(parse.shipped()[name].read_text().splitlines()) <= 30
    for needed in (recipe.get("needs") or {}).values():
        assert needed in parse.shipped()


def test_options_of_a_wrapping_objective_are_known_too() -> None:
    assert {"queue_size", "teacher"} <= set(explain._options(GML))
    assert not {"self", "counts", "model"} & set(explain._options(BCL))


@pytest.mark.parametrize("key", parse.SECTIONS)
@pytest.mark.parametrize("value", [None, 3])
def test_a_section_that_is_no_mapping_is_refused(key: str, value: object) -> None:
    with pytest.raises(TailwiseError) as refused:
        parse.resolve({key: value}, ())
    assert key in str(refused.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--objective=BCL", "--objective.pixels=Uniform", "--objective.pixels.per_image=0"), "Uniform: per_image must be"),
        (("--objective=ELM", "--objective.embedding=LogTriplet", "--objective.embedding.temperature=0"), "LogTriplet: "),
    ],
)
def test_what_a_class_refuses_is_said_in_its_own_words(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(TailwiseError) as found:
        parse.build(parse.resolve({}, words))
    assert str(found.value).startswith(message)
    assert "\n" not in str(found.value)
