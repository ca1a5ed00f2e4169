"""From a recipe's name and options to a `Recipe`: YAML with `base:`, dotted overrides, and errors of one line."""

import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from tailwise import losses
from tailwise.train.recipe import Recipe
from tailwise.types import TailwiseError

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


def shipped() -> dict[str, Path]:
    """The recipes inside the package by name, such as ``digits_lt/gml``."""
    root = Path(str(resources.files("tailwise") / "recipes"))
    return {str(path.relative_to(root).with_suffix("")): path for path in sorted(root.rglob("*.yaml"))}


def find(name: str | Path, near: Path | None = None) -> Path:
    """A recipe by path (relative to ``near``, then to here) or by its name inside the package."""
    for candidate in ([near / name] if near else []) + [Path(name)]:
        if candidate.is_file():
            return candidate
    if (known := shipped()).get(str(name)):
        return known[str(name)]
    raise TailwiseError(f"no recipe {str(name)!r}; {nearest(str(name), known)}")


def nearest(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Advice for a misspelt word."""
    names = list(known)
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    return f"did you mean {lowered[close[0]]}?" if close else f"known: {', '.join(names)}"


def read(name: str | Path, near: Path | None = None, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe's mapping, laid over that of its ``base:``, which is looked for beside it first."""
    path = find(name, near).resolve()
    if path in seen:
        raise TailwiseError(f"recipe {path.name}: its bases form a circle ({' -> '.join(p.name for p in (*seen, path))})")
    try:
        own = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TailwiseError(f"recipe {path}: not readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(own, dict):
        raise TailwiseError(f"recipe {path}: expected keys and values, got {type(own).__name__}")
    base = own.pop("base", None)
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


def parser() -> ArgumentParser:
    """The recipe's options as a command line."""
    made = ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
    made.add_class_arguments(Recipe, as_group=False)
    made.set_defaults({"schedule": {"class_path": "tailwise.train.optim.Cosine"}})
    return made


def resolve(recipe: Mapping[str, Any], overrides: Sequence[str]) -> Namespace:
    """The validated record of a recipe under ``--dotted.key value`` overrides; nothing is built yet."""
    checking = parser()
    try:
        return checking.parse_args(list(overrides), namespace=checking.parse_object(dict(recipe)))
    except (ArgumentError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise TailwiseError(_explain(str(error), overrides)) from error


def build(record: Namespace) -> Recipe:
    """The recipe itself; classes such as teachers are constructed here."""
    made = parser().instantiate(record)
    return Recipe(**{key: value for key, value in vars(made).items() if key in Recipe.__dataclass_fields__})


def dump(record: Namespace) -> str:
    """The record as YAML, with nothing left to defaults."""
    return cast(str, parser().dump(record, skip_unset=False))


def _explain(message: str, overrides: Sequence[str]) -> str:
    """One line that names what is wrong and the nearest thing that would be right."""
    objectives = [n for n in losses.__all__ if inspect.isclass(c := getattr(losses, n)) and issubclass(c, losses.Objective)]
    keys = [a.dest for a in parser()._actions]
    line = " ".join(message.split())
    if found := re.search(r'key "objective":.*import path string: (\S+?)\.?$', line):
        return f"no objective {found[1]!r}; {nearest(found[1], objectives)}"
    if found := re.search(r"[Kk]ey \"([\w.]+)\":.*?Expected an? <class '(\w+)'>.*[Vv]alue: (.*)$", line):
        return f"recipe: {found[1]} must be {_KINDS.get(found[2], found[2])}, got {found[3]!r}"
    if found := re.search(r"[Uu]nrecognized arguments?: -*([\w.]+)", line):
        return f"no option {found[1]!r}; {nearest(found[1], keys)}"
    if found := re.search(r"Option '([\w.]+)' is not accepted.*class_path='([\w.]+)'", line):
        made = getattr(losses, found[2].rsplit(".", 1)[-1], None)
        options = _options(made) if made else []
        return f"{found[2].rsplit('.', 1)[-1]} has no option {found[1]!r}; {nearest(found[1], options)}"
    if found := re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", line):
        word = f"{found[1]}.{found[2]}"
        return f"recipe: no key {word!r}; {nearest(word, keys)}"
    if found := re.search(r"[Kk]ey '([\w.]+)' is not expected|Option '([\w.]+)' is not accepted", line):
        word = found[1] or found[2]
        return f"recipe: no key {word!r}; {nearest(word, keys)}"
    return f"recipe: {line[:300]}"


def _options(made: type) -> list[str]:
    """The constructor options of an objective and those that it passes on."""
    names = [n for c in made.__mro__ if "__init__" in vars(c) for n in inspect.signature(c).parameters]
    return [n for n in dict.fromkeys(names) if n not in ("self", "counts", "model", "args", "kwargs", "bcl", "rcl")]
