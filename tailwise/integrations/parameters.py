"""The parameters of `TailwiseClassifier` as a user gives them: numbers in their ranges, an objective by any of its names."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import isabstract
from math import inf
from numbers import Integral, Real
from typing import Any

from torch import nn

from tailwise import losses
from tailwise.counts import ALIASES
from tailwise.losses import MultiLabel, Objective
from tailwise.types import TailwiseError

NUMBERS: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "dropout": (Real, lambda share: 0 <= share < 1, "a share in [0, 1)"),
    "epochs": (Integral, lambda number: number >= 1, "a whole number, at least 1"),
    "batch_size": (Integral, lambda number: number >= 1, "a whole number, at least 1"),
    "learning_rate": (Real, lambda rate: 0 < rate < inf, "a positive number"),
    "weight_decay": (Real, lambda decay: 0 <= decay < inf, "a number, 0 or more"),
    "noise": (Real, lambda noise: 0 <= noise < inf, "a number, 0 or more"),
    "masking": (Real, lambda share: 0 <= share < 1, "a share in [0, 1)"),
    "patience": (Integral, lambda number: number >= 1, "None or a whole number, at least 1"),
    "validation_fraction": (Real, lambda share: 0 < share < 1, "a share in (0, 1)"),
}
"""Of each number its kind, its range, and the range in words."""


def check_numbers(given: Mapping[str, Any]) -> None:
    """Refuse, with `TailwiseError`, a number of another kind or out of its range. None is a ``patience``."""
    for name, (kind, within, wants) in NUMBERS.items():
        value = given[name]
        if name == "patience" and value is None:
            continue
        if not isinstance(value, kind) or isinstance(value, bool) or not within(value):
            raise TailwiseError(f"TailwiseClassifier: {name} is {value!r}; give {wants}")


def layer_widths(hidden: Any) -> tuple[int, ...]:
    """Widths of the hidden layers; a number is that of a single one."""
    try:
        widths = (hidden,) if isinstance(hidden, Integral) else tuple(hidden)
    except TypeError:
        widths = (None,)
    if not all(isinstance(width, Integral) and not isinstance(width, bool) and int(width) >= 1 for width in widths):
        raise TailwiseError(f"TailwiseClassifier: hidden is {hidden!r}; give positive widths, as in (128,), or () for none")
    return tuple(int(width) for width in widths)


def find_objective(given: Any) -> Callable[..., Objective]:
    """What makes the objective: a class of `tailwise.losses` by its name, or the class or callable itself."""
    if isinstance(given, str):
        return _named(given)
    usable = issubclass(given, Objective) and not isabstract(given) if isinstance(given, type) else callable(given)
    if not usable or isinstance(given, nn.Module):  # an objective that was made is a module, and callable
        said = given.__name__ if isinstance(given, type) else f"of type {type(given).__name__}"
        raise TailwiseError(
            f"TailwiseClassifier: objective is {said}; give the name of a method's class in tailwise.losses, such a class, or "
            "a callable of (counts, model)"
        )
    return given  # type: ignore[no-any-return]


def inside(make: Any) -> Any:
    """What a partial calls; anything else is itself."""
    return getattr(make, "func", make)


def takes_indicators(given: Any) -> bool:
    """Whether the objective is known to take several labels per row; never raises, as tags are asked for before a fit."""
    kind = getattr(losses, given, None) if isinstance(given, str) else inside(given)
    return given is None or (isinstance(kind, type) and issubclass(kind, MultiLabel))


def check_options(options: Any) -> dict[str, Any]:
    """Keyword arguments of an objective. It refuses unknown ones itself, and counts and model are not among them."""
    if options is not None and not isinstance(options, Mapping):
        raise TailwiseError(f"TailwiseClassifier: options is {options!r}; give a dict such as {{'tau': 1.5}}")
    for name in ("counts", *ALIASES, "model"):
        if name in (options or {}):
            raise TailwiseError(f"TailwiseClassifier: options has {name!r}, which comes from X and y; leave it out")
    return dict(options or {})


def _named(name: str) -> type[Objective]:
    """The objective of that name; an unknown one is refused with the nearest that there is."""
    classes = {key: value for key, value in vars(losses).items() if isinstance(value, type) and issubclass(value, Objective)}
    known = {key: value for key, value in classes.items() if value is not Objective and not isabstract(value)}
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1, cutoff=0)[0]
    raise TailwiseError(f"TailwiseClassifier: no objective {name!r} in tailwise.losses; did you mean {near!r}?")
