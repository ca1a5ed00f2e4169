"""Options of an objective, by any name that counts have, and refused in the name of the class that was asked for."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, ParamSpec

from tailwise.counts import ALIASES, with_aliases
from tailwise.types import TailwiseError

P = ParamSpec("P")

LEAST, MOST = 1e-12, 1e6
"""Sizes of a number that is an option: with these scores, sums and slopes stay far inside what float32 can hold."""


def with_options(init: Callable[P, None]) -> Callable[P, None]:
    """A constructor that takes ``counts`` by other names, and refuses an unknown option in the name of the class it makes."""
    aliased = with_aliases(init)

    @functools.wraps(init)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        cls = type(args[0])
        if cls.__init__ is call:  # and not that of a base, which is called by it
            _refuse_unknown(cls, kwargs)
            named = inspect.signature(init).parameters
            given = {**dict(zip(named, args, strict=False)), **kwargs}
            check_numbers(cls.__name__, {x: given[x] for x, p in named.items() if p.annotation is float and x in given})
        aliased(*args, **kwargs)

    return call


def _refuse_unknown(cls: type, given: Collection[str]) -> None:
    known: list[str] = []
    for base in (base for base in cls.__mro__ if "__init__" in vars(base)):
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        known += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break  # what it does not know, nobody does
    for name in (name for name in given if name not in (*known, *ALIASES)):
        near = get_close_matches(name, known, 1)
        advice = f"did you mean {near[0]}?" if near else f"it has {', '.join(known[3:]) or 'none'}"
        raise TailwiseError(f"{cls.__name__}: no option {name!r}; {advice}")


def check_numbers(name: str, given: Mapping[str, Any]) -> None:
    """Refuse what is not finite, and sizes other than 0 that lie outside `LEAST` to `MOST`."""
    for option, value in given.items():
        if isinstance(value, int | float) and value != 0 and not LEAST <= abs(value) <= MOST:
            raise TailwiseError(f"{name}: {option} is {value}; give 0 or a size of {LEAST:g} to {MOST:g}")
