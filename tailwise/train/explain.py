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
_KINDS |= {"tuple": "a list", "dict": "a mapping"}
_CLASSES: dict[str, tuple[type, str]] = {
    "objective": (losses.Objective, "CrossEntropy"),
    "sampler": (samplers.Sampler, "Shuffled"),
    "schedule": (optim.Schedule, "Cosine"),
    "post_hoc": (posthoc.PostHoc, "Unchanged"),
}
"""The keys of a recipe that name a class: what the class must be, and the default."""


def nearest(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Advice for a misspelt word; of many names without a near one, their groups (what stands before / or .)."""
    names = list(known)
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"did you mean {lowered[close[0]]}?"
    if not names:
        return "it has none"
    shown = list(dict.fromkeys(re.sub(r"([/.]).*", r"\1…", name) for name in names)) if len(names) > MANY else names
    return f"known: {', '.join(shown[:MANY])}" + (", …" if len(shown) > MANY else "")


def explain(message: str, keys: Sequence[str], recipe: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """What the parser's ``message`` means for the user; ``keys`` are the options that it knows."""
    line = " ".join(message.split())
    for key, (kind, default) in _CLASSES.items():
        if re.search(rf"\b{key}\b", line) and (wrong := _misnamed(key, _named(key, recipe, overrides) or default, kind)):
            return wrong
    if re.search(r"Option 'class_path' is not accepted|\{'class_path': '[\w.]+', '(?!init_args')", line):
        return "recipe: the options of a class go below init_args, beside its class_path"
    found = re.search(r"class_path '(?P<made>[\w.]+)': Option '(?P<option>[\w.]+)' is not accepted", line)
    if found := found or re.search(r"Option '(?P<option>[\w.]+)' is not accepted.*class_path='(?P<made>[\w.]+)'", line):
        made = _imported(found["made"])
        options = _options(made) if inspect.isclass(made) else []
        return f"{found['made'].rsplit('.', 1)[-1]} has no option {found['option']!r}; {nearest(found['option'], options)}"
    if wrong := _misfit(line):
        return wrong
    if found := re.search(r"[Uu]nrecognized arguments?: -*([\w.]+)", line):
        return f"no option {found[1]!r}; {nearest(found[1], keys)}"
    if found := re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", line):
        word = f"{found[1]}.{found[2]}"
        return f"recipe: no key {word!r}; {nearest(word, keys)}"
    if found := re.search(r"[Kk]ey '([\w.]+)' is not expected|Option '([\w.]+)' is not accepted", line):
        word = found[1] or found[2]
        return f"recipe: no key {word!r}; {nearest(word, keys)}"
    return f"recipe: {line[:300]}"


def _named(key: str, recipe: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """The class that was last named for ``key``, empty where none was."""
    value = recipe.get(key)
    named = [value.get("class_path") if isinstance(value, Mapping) else value]
    named += re.findall(rf"--{key}(?:\.class_path)?[= ](\S+)", " ".join(overrides))
    return str(named[-1] or "")


def _misnamed(key: str, name: str, kind: type) -> str | None:
    """The line for a ``key`` whose class is unknown or of the wrong kind; None where the class is right."""
    known = _below(kind)
    made = known.get(name) or _imported(name)
    if inspect.isclass(made) and issubclass(made, kind):
        return None
    if made is not None:
        return f"{key}: {name} is no {kind.__name__}; name a class derived from {kind.__module__}.{kind.__name__}"
    return f"no {key} {name!r}; {nearest(name.rpartition('.')[2], sorted(known))}"


def _misfit(line: str) -> str | None:
    """The line for a value that is not what its key takes, the innermost one that the parser speaks of."""
    places = list(re.finditer(r"[Kk]ey \"([\w.]+)\":", line))
    place, said = ".".join(found[1] for found in places), line[places[-1].end() :] if places else ""
    found = re.search(r"[Vv]alue: (.*?)(?: - Expected | Given value|\. Got value: |$)", said)
    value = found[1] if found else ""
    if found := re.search(r"arguments are required: ([\w.]+)", said):
        return f"recipe: {place} needs the option {found[1]!r}"
    found = re.search(r"Subtypes: \[<class '(\w+\.[\w.]+)'>", said)  # where a class is named, or none
    if found and inspect.isclass(kind := _imported(found[1])):
        if option := re.match(r"NestedArg\(key='([\w.]+)'", value):
            return f"recipe: {place} needs a class before its option {option[1]!r}; {nearest('', sorted(_below(kind)))}"
        named = re.search(r"'class_path': '([\w.]+)'", value)
        return _misnamed(places[-1][1], named[1] if named else value, kind)
    if found := re.search(r"dot import path string: ([\w.]+)", said):
        return f"recipe: {place}: no class {found[1]!r}"
    if found := re.search(r"typing\.Literal\[([^\]]*)\]", said):
        choices = ["true", "false"] * ("<class 'bool'>" in said) + re.findall(r"'([^']*)'", found[1])
        return f"recipe: {place} must be one of {', '.join(choices)}, got {value!r}"
    if kinds := re.findall(r"Expected an? <class '(?!NoneType)(\w+)'>", said):
        return f"recipe: {place} must be {' or '.join(_KINDS.get(kind, kind) for kind in kinds)}, got {value!r}"
    return None


def _below(kind: type) -> dict[str, type]:
    """The classes derived from ``kind`` that can be built, by name."""
    classes = [kind]
    for made in classes:
        classes += made.__subclasses__()
    return {made.__name__: made for made in classes[1:] if not inspect.isabstract(made)}


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
