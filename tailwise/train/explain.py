"""Mistakes in a recipe or in its overrides, said in one line with the nearest thing that would be right."""

import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from tailwise import losses, posthoc
from tailwise.data import samplers
from tailwise.train import optim

MANY = 16
"""Names that one line can hold."""
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
_CLASSES: dict[str, tuple[Any, type, str]] = {
    "objective": (losses, losses.Objective, "CrossEntropy"),
    "sampler": (samplers, samplers.Sampler, "Shuffled"),
    "schedule": (optim, optim.Schedule, "Cosine"),
    "post_hoc": (posthoc, posthoc.PostHoc, "Unchanged"),
}
"""The keys of a recipe that name a class: where short names are looked up, what the class must be, and the default."""


def nearest(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Advice for a misspelt word; of many names without a near one, their groups (what stands before / or .)."""
    names = list(known)
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"did you mean {lowered[close[0]]}?"
    shown = list(dict.fromkeys(re.sub(r"([/.]).*", r"\1…", name) for name in names)) if len(names) > MANY else names
    return f"known: {', '.join(shown[:MANY])}" + (", …" if len(shown) > MANY else "")


def explain(message: str, keys: Sequence[str], recipe: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """What the parser's ``message`` means for the user; ``keys`` are the options that it knows."""
    line = " ".join(message.split())
    for key in _CLASSES:
        if re.search(rf"\b{key}\b", line) and (wrong := _misnamed(key, recipe, overrides)):
            return wrong
    if found := re.search(r"[Kk]ey \"([\w.]+)\":.*?Expected an? <class '(\w+)'>.*[Vv]alue: (.*)$", line):
        return f"recipe: {found[1]} must be {_KINDS.get(found[2], found[2])}, got {found[3]!r}"
    if found := re.search(r"[Uu]nrecognized arguments?: -*([\w.]+)", line):
        return f"no option {found[1]!r}; {nearest(found[1], keys)}"
    if found := re.search(r"Option '([\w.]+)' is not accepted.*class_path='([\w.]+)'", line):
        made = _imported(found[2])
        options = _options(made) if inspect.isclass(made) else []
        return f"{found[2].rsplit('.', 1)[-1]} has no option {found[1]!r}; {nearest(found[1], options)}"
    if found := re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", line):
        word = f"{found[1]}.{found[2]}"
        return f"recipe: no key {word!r}; {nearest(word, keys)}"
    if found := re.search(r"[Kk]ey '([\w.]+)' is not expected|Option '([\w.]+)' is not accepted", line):
        word = found[1] or found[2]
        if owner := _owner(word, recipe, overrides):
            return f"{owner.__name__} has no option {word!r}; {nearest(word, _options(owner))}"
        return f"recipe: no key {word!r}; {nearest(word, keys)}"
    return f"recipe: {line[:300]}"


def _named(key: str, recipe: Mapping[str, Any], overrides: Sequence[str]) -> tuple[str, Any]:
    """The class that was last named for ``key``: its name, and the class itself, None where unknown."""
    value = recipe.get(key)
    named = [value.get("class_path") if isinstance(value, Mapping) else value]
    named += re.findall(rf"--{key}(?:\.class_path)?[= ](\S+)", " ".join(overrides))
    name = str(named[-1] or _CLASSES[key][2])
    return name, getattr(_CLASSES[key][0], name, None) or _imported(name)


def _owner(option: str, recipe: Mapping[str, Any], overrides: Sequence[str]) -> type | None:
    """The class that ``option`` was meant for, if it was given under a key that names one."""
    for key in _CLASSES:
        value = recipe.get(key)
        options = value.get("init_args") or {} if isinstance(value, Mapping) else {}
        if option in options or re.search(rf"--{key}\.(init_args\.)?{option}\b", " ".join(overrides)):
            made = _named(key, recipe, overrides)[1]
            return made if inspect.isclass(made) else None
    return None


def _misnamed(key: str, recipe: Mapping[str, Any], overrides: Sequence[str]) -> str | None:
    """The line for a ``key`` whose class is unknown or of the wrong kind; None where the class is right."""
    module, kind, _ = _CLASSES[key]
    name, made = _named(key, recipe, overrides)
    if inspect.isclass(made) and issubclass(made, kind):
        return None
    known = [n for n in dir(module) if inspect.isclass(c := getattr(module, n)) and issubclass(c, kind) and c is not kind]
    known = [n for n in known if not inspect.isabstract(getattr(module, n))]
    if made is not None:
        return f"{key}: {name} is no {kind.__name__}; name a class derived from {kind.__module__}.{kind.__name__}"
    return f"no {key} {name!r}; {nearest(name, known)}"


def _imported(path: str) -> Any:
    """What a dotted path names; None for nothing."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name, None) if module else None
    except ImportError:
        return None


def _options(made: type) -> list[str]:
    """The constructor options of a class and those that it passes on."""
    constructors = [c.__dict__["__init__"] for c in made.__mro__ if inspect.isfunction(c.__dict__.get("__init__"))]
    parameters = [p for function in constructors for p in inspect.signature(function).parameters.values()]
    named = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return [name for name in dict.fromkeys(named) if name not in ("self", "counts", "model", "args", "kwargs")]
