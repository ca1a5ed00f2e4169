"""What somebody wrote, a recipe in YAML or JSON of a run: plain values, of a size and of kinds that it can have."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeGuard

import yaml

from tailwise.types import TailwiseError

LONGEST, MOST, DEEPEST = 2**18, 50_000, 40
"""Bytes of a recipe, values in it with every alias written out, and mappings or lists inside one another."""


def load(path: Path, what: str) -> dict[str, Any]:
    """The mapping in a file; ``what`` calls it in errors, such as "recipe digits_lt/la".

    Only YAML's plain tags are read, so nothing is constructed. Raises `TailwiseError`, one line, for a file that cannot be
    read or is no mapping of YAML, and above one of the bounds: a few lines of aliases can stand for a billion values.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
        loaded = yaml.safe_load(content.decode("utf-8")) if len(content) <= LONGEST else None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, OSError) as error:
        raise TailwiseError(f"{what}: not readable YAML ({' '.join(str(error).split())}); correct it") from error
    if len(content) > LONGEST:
        raise TailwiseError(f"{what}: has more than {LONGEST // 1024} KiB; a recipe holds options, data go into other files")
    if not isinstance(loaded := {} if loaded is None else loaded, dict):
        raise TailwiseError(f"{what}: expected keys and values, got {type(loaded).__name__}")
    _bounded(loaded, what)
    return loaded


def _bounded(loaded: dict[str, Any], what: str) -> None:
    """Count the values as if every alias were written out, no further than the bounds."""
    waiting: list[tuple[Any, int]] = [(loaded, 1)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        if not isinstance(value, dict | list):
            continue
        seen += len(value)
        waiting += [(one, depth + 1) for one in (value.values() if isinstance(value, dict) else value)]
        if seen > MOST or depth > DEEPEST:
            raise TailwiseError(
                f"{what}: more than {MOST:,} values, or {DEEPEST} mappings inside one another, with aliases written out; "
                "write less"
            )


def load_json(path: Path) -> Any:
    """What a JSON file holds. Raises `ValueError` also for NaN and half characters, which cannot be written again."""
    found = json.loads(path.read_text(encoding="utf-8"))
    dump_json(found)
    return found


def dump_json(content: Any) -> bytes:
    """A JSON file."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


FACTS: Mapping[str, type | UnionType] = {
    "recipe": str,
    "objective": str,
    "data": dict,
    "settings": dict | None,
    "time_limit": dict | None,
}
PARTS: Mapping[str, Mapping[str, type | UnionType]] = {
    "data": {"sha256": str, "classes": list, "train_counts": list, "samples": dict | None},
    "time_limit": {"minutes": int | float, "reserved_seconds": int | float},
}
"""What a manifest may say and other code relies on, and what those of its parts must say that are there."""


class Manifest(dict[str, Any]):
    """The facts of ``manifest.json``: one that other code needs and does not find is a `TailwiseError`."""

    def __init__(self, content: Any, damaged: Callable[[str], TailwiseError]) -> None:
        """``content`` is what the file holds, whatever that is; ``damaged`` makes the error that says what is wrong with it."""
        if not isinstance(content, dict):
            raise damaged(f"expected keys and values, got {type(content).__name__}")
        super().__init__(content)
        self.damaged = damaged
        for key in (key for key in FACTS if key in content):
            self._fits(key, content[key], FACTS[key])
            for inner, kind in (PARTS.get(key, {}) if content[key] is not None else {}).items():
                self._fits(f"{key}.{inner}", content[key].get(inner), kind)
        try:
            _bounded(content.get("settings") or {}, "settings")
        except TailwiseError as error:
            raise damaged(str(error)) from error

    def __missing__(self, key: str) -> Any:
        raise self.damaged(f"no {key} in it")

    def _fits(self, key: str, value: Any, kind: type | UnionType) -> None:
        if not isinstance(value, kind):
            raise self.damaged(f"{key} is {_shown(value)}")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value of JSON or YAML is a number that a float can be, not infinite and not NaN."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def misfit(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row of a log, whose figures are numbers, or null where they were not finite."""
    for key, value in row.items():
        if not key.isprintable() or (value is not None and not is_number(value)):
            return f"{_shown(key)} is {_shown(value)}"
    epoch = row.get("epoch", 0 if all(key in ("step", "loss") or key.endswith("_step") for key in row) else None)
    return None if isinstance(epoch, int) and epoch >= 0 else f'"epoch" is {_shown(epoch)}'


def _shown(value: Any) -> str:
    """A value of JSON in an error; of one that holds others, which may be many, the kind."""
    return f"a {type(value).__name__}" if isinstance(value, dict | list) else json.dumps(value)[:60]


def refuse_foreign(recipe: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuse, with `TailwiseError`, classes of Python's own library, before they are imported to see what they are.

    A recipe constructs what it names if that is of the right kind, and to know the kind it imports the module; none of
    Python's own has an objective or a network, and some do things when they are imported.
    """
    for name in (*_named(recipe), *_overriding(overrides)):
        if _DOTTED.fullmatch(name) and name.split(".")[0] in _OWN and not Path(name).exists():
            raise TailwiseError(f"recipe: {name} is of Python's own library, which has nothing that a recipe may name")


_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_OWN = (sys.stdlib_module_names | {"__main__"}) - {"test"}
_PLACES = ("class_path", "objective", "sampler", "schedule", "post_hoc")


def _overriding(words: Sequence[str]) -> Iterator[str]:
    """Values of options for a class or its options, as ``--key value`` or ``--key=value``."""
    for word, following in zip(words, [*words[1:], ""], strict=False):  # no words, and nothing follows
        key, given, value = word.partition("=")
        if key.removeprefix("--").split(".")[0] in _PLACES:
            yield value if given else following


def _named(tree: Any, inside: bool = False) -> Iterator[str]:
    """Text that stands where a class may: below a class's options anywhere, as these may be classes too."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _named(value, inside or key in _PLACES)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _named(value, inside)
    elif inside and isinstance(tree, str):
        yield tree
