"""From a recipe's name and options to a `Recipe`: YAML with `base:`, dotted overrides, and errors of one line."""

import functools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from tailwise.train.explain import explain, nearest
from tailwise.train.recipe import Recipe
from tailwise.train.written import load, refuse_foreign
from tailwise.types import TailwiseError


def shipped() -> dict[str, Path]:
    """The recipes inside the package by name, such as ``digits_lt/gml``."""
    root = Path(str(resources.files("tailwise") / "recipes"))
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.yaml"))}


def find(name: str | Path, near: Path | None = None) -> Path:
    """A recipe by path (relative to ``near``, then to here) or by its name inside the package."""
    for candidate in ([near / name] if near else []) + [Path(name)]:
        with suppress(OSError):  # a name too long for a file
            if candidate.is_file():
                return candidate
    if (known := shipped()).get(str(name)):
        return known[str(name)]
    raise TailwiseError(f"no recipe {str(name)!r}; {nearest(str(name), known)}")


def read(name: str | Path, near: Path | None = None, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe's mapping, laid over that of its ``base:``; base and ``needs:`` are looked for beside it first."""
    path = find(name, near).resolve()
    if path in seen:
        raise TailwiseError(f"recipe {path.name}: its bases form a circle ({' -> '.join(p.name for p in (*seen, path))})")
    own = load(path, f"recipe {name}")
    if isinstance(wanted := own.get("needs"), dict):  # as a base: looked for beside the recipe first
        beside = {key: path.parent / str(value) for key, value in wanted.items()}
        with suppress(OSError):
            own["needs"] = {key: str(beside[key]) if beside[key].exists() else value for key, value in wanted.items()}
    base = own.pop("base", None)
    if not isinstance(base, str | None):
        raise TailwiseError(f"recipe {name}: base must be the name or path of one recipe, got {base!r}")
    return own if base is None else overlay(read(base, path.parent, (*seen, path)), own)


def overlay(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``own`` over ``base``, mapping by mapping; the options of another class are not inherited."""
    merged = dict(base)
    for key, value in own.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            same = value.get("class_path", before.get("class_path")) == before.get("class_path")
            value = overlay(before if same else {}, value)
        merged[key] = value
    return merged


SECTIONS = ("data", "model", "objective", "sampler", "optim", "schedule", "post_hoc", "engine")
"""The keys of a recipe with keys of their own."""


@functools.cache
def parser() -> ArgumentParser:
    """The recipe's options as a command line; made once, for that takes as long as reading a recipe."""
    made = ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
    made.add_class_arguments(Recipe, as_group=False)
    made.set_defaults(
        {
            "schedule": {"class_path": "tailwise.train.optim.Cosine"},
            "sampler": {"class_path": "tailwise.data.samplers.Shuffled"},
            "post_hoc": {"class_path": "tailwise.posthoc.Unchanged"},
        }
    )
    return made


def resolve(recipe: Mapping[str, Any], overrides: Sequence[str]) -> Namespace:
    """The validated record of a recipe under ``--dotted.key value`` overrides; nothing is built yet."""
    checking = parser()
    refuse_foreign(recipe, overrides)
    try:
        record = checking.parse_args(list(overrides), namespace=checking.parse_object(dict(recipe)))
    except (ArgumentError, TypeError, ValueError, AttributeError, KeyError) as error:
        keys = [action.dest for action in checking._actions if not action.dest.endswith(".help")]
        raise TailwiseError(explain(str(error), keys, recipe, overrides)) from error
    for key in SECTIONS:  # the parser lets null, and numbers in the place of a section, pass
        if not isinstance(record[key], Namespace):
            raise TailwiseError(f"recipe: {key} must be a mapping, got {record[key]!r}; write its options below it")
    return record


def build(record: Namespace) -> Recipe:
    """The recipe itself; classes such as teachers are constructed here."""
    try:
        made = parser().instantiate(record)
    except ValueError as error:  # where an option may also be left out, the parser wraps what its class has to say
        link: BaseException | None = error
        while link is not None and not isinstance(link, TailwiseError):
            link = link.__cause__ or link.__context__
        raise link or error from error
    return Recipe(**{key: value for key, value in vars(made).items() if key in Recipe.__dataclass_fields__})


def dump(record: Namespace) -> str:
    """The record as YAML, with nothing left to defaults."""
    return cast(str, parser().dump(record, skip_unset=False))


def word(value: Any) -> str:
    """A value as one word of the command line."""
    if isinstance(value, str | Path):
        return str(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).split("\n")[0]
