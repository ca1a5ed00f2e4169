"""What somebody wrote in YAML, a recipe or a part of one: read as plain values, of a size that a recipe can have."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
        raise TailwiseError(f"{what}: not readable YAML ({' '.join(str(error).split())})") from error
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
