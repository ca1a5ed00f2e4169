"""The names and keys that are read from the package's files are those of the package."""

import pytest

from tailwise.cli import keys, known
from tailwise.cli.parser import Parser
from tailwise.data.sources import NAMED
from tailwise.export.formats import FORMATS
from tailwise.train import explain, parse

READ = {key.name: key for _, section in keys.sections() for key in section}


def test_names_are_those_of_the_package() -> None:
    assert known.recipes() == sorted(parse.shipped())
    assert tuple(known.sources()) == NAMED
    assert known.formats() == list(FORMATS)


@pytest.mark.parametrize("key", known.CLASSES)
def test_classes_are_those_that_a_recipe_may_name(key: str) -> None:
    kind, default = explain._CLASSES[key]
    doors = ("tailwise.integrations.", "tailwise.export.")  # what they have for themselves is for no recipe
    ours = {
        name
        for name, made in explain._below(kind).items()
        if made.__module__.startswith("tailwise.") and not made.__module__.startswith(doors)
    }
    assert set(known.classes(key)) == ours
    assert READ[key].default == default
    assert READ[key].choices == known.classes(key)


def test_keys_are_those_that_the_command_takes() -> None:
    """What is left out: mappings, sections as a whole, and the help of a class."""
    taken = {action.dest for action in parse.parser()._actions if not action.dest.endswith(".help")}
    sections = {name.rpartition(".")[0] for name in taken} - {""}
    assert set(READ) == taken - sections - {"about", "needs", "print_shtab"}  # the last is the parser's own
    assert all(key.help for key in READ.values())


def test_defaults_and_choices_are_those_of_the_recipe() -> None:
    plain = [key for key in READ.values() if key.name not in known.CLASSES]
    record = parse.parser().get_defaults()
    said = parse.resolve({}, [f"--{key.name}={key.default}" for key in plain if key.default])
    assert [key.name for key in plain if said[key.name] != record[key.name]] == []
    assert {str(record[key.name]) for key in plain if not key.default} == {"None", "()"}
    assert READ["data.groups"].choices == ["keep", "ignore"]
    assert READ["engine.compile"].choices == ["true", "false", "graphs"]
    assert READ["engine.loggers"].choices == []  # a list of them


def test_keys_are_shown_once_and_completed() -> None:
    parser = Parser(prog="tailwise fit")
    parser.add_argument("--max-minutes")
    keys.add_keys(parser)
    shown = parser.format_help()
    assert "--max_minutes" not in shown
    assert "skipping up to 1 % (default" in " ".join(shown.split())
    assert {"data.source", "model.start_from"} <= set(parser.offers) & set(READ)
