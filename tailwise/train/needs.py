"""Runs that a recipe needs: it names them in ``needs:`` and says ``${needs.NAME}`` where the folder of one goes."""

import re
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from tailwise.train import parse
from tailwise.train.recipe import Recipe
from tailwise.train.run import RECIPE
from tailwise.types import TailwiseError

NEEDED = re.compile(r"\$\{needs\.(\w+)\}")


def names(record: Namespace) -> list[str]:
    """The needs that the record uses."""
    return sorted(set(NEEDED.findall(str(record))))


def own_folder(folder: Path, needed: str) -> Path:
    """Where a run keeps a needed run that was trained for it."""
    return folder / "needs" / needed


def folder_of(record: Namespace, folder: Path, needed: str) -> Path:
    """The needed run's folder: the one that the recipe names, or one inside ``folder`` for a recipe that it names.

    What was begun there stays the run's own, whatever became of the file of its recipe.
    """
    own = own_folder(folder, needed)
    return own if (own / RECIPE).is_file() or recipe_of(record, needed) else Path(record.needs[needed])


def recipe_of(record: Namespace, needed: str) -> str | None:
    """The recipe to train for a need; None where it is the folder of a run. Raises `TailwiseError` for what is neither."""
    if needed not in record.needs:
        raise TailwiseError(f"recipe: uses ${{needs.{needed}}} but `needs:` has no {needed!r}; name a recipe or a run there")
    wanted = str(record.needs[needed])
    if (Path(wanted) / RECIPE).is_file():
        return None
    try:
        parse.find(wanted)
    except TailwiseError as error:
        raise TailwiseError(f"needs {needed}: no run and {error}") from error
    return wanted


def check(record: Namespace, chain: tuple[Path, ...] = ()) -> None:
    """Refuse needs that nothing can fill, those of needed recipes too: a missing run or recipe, or a circle of recipes."""
    for needed in names(record):
        if (wanted := recipe_of(record, needed)) is None:
            continue
        path = parse.find(wanted).resolve()
        if path in chain:
            circle = " -> ".join(p.stem for p in (*chain, path))
            raise TailwiseError(f"needs {needed}: the recipes need one another in a circle ({circle})")
        try:
            theirs = parse.resolve(parse.read(wanted), ())
        except TailwiseError as error:
            raise TailwiseError(f"needs {needed}: {error}") from error
        check(theirs, (*chain, path))


def filled(record: Namespace, folder: Path) -> Namespace:
    """The record with the folders of the needed runs in place."""
    text = NEEDED.sub(lambda m: str(folder_of(record, folder, m[1])), parse.dump(record))
    return parse.resolve(yaml.safe_load(text), ())


def without(record: Namespace) -> Recipe:
    """The recipe without those options that come from needed runs: all but training can do with it.

    A run to start from stays named: without it, a recipe of no epochs would be none.
    """
    return parse.build(parse.resolve(_without(yaml.safe_load(parse.dump(record))), ()))


def _without(tree: dict[str, Any], key: str = "") -> dict[str, Any]:
    """Options whose value holds a reference are left out whole: a teacher without its run cannot be built."""
    if key == "init_args":
        return {name: value for name, value in tree.items() if not NEEDED.search(str(value))}
    kept: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            kept[name] = _without(value, name)
        elif name == "start_from" or not NEEDED.search(str(value)):
            kept[name] = value
    return kept
