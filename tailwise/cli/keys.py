"""The keys of a recipe as options, for help and completion: read from ``train/recipe.py``, which would load torch."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from tailwise.cli.known import CLASSES, PACKAGE, SOURCE, classes, in_file
from tailwise.cli.parser import FILE, FOLDER, Parser

PATHS = {"data.source": SOURCE, "data.counts": FILE, "data.download": FOLDER, "model.start_from": FOLDER}
"""The keys whose values are paths, as a shell completes them."""
_METAVAR = {"int": "N", "float": "X", "tuple": "LIST"}


class Key(NamedTuple):
    """An option of a recipe, such as ``optim.lr``."""

    name: str
    kind: str  # its annotation, as written
    choices: list[str]  # none where anything goes
    default: str  # "" where there is none, or the help says what happens then
    help: str


def sections() -> Iterator[tuple[str, list[Key]]]:
    """What a section of a recipe is, and its keys; left out are mappings, which a file says better."""
    made = in_file(PACKAGE / "train" / "recipe.py")
    waiting = [("Recipe", "")]
    for name, prefix in waiting:
        doc = ast.get_docstring(made[name]) or ""
        said = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", doc, re.MULTILINE))
        keys = []
        for field in made[name].body:
            if not isinstance(field, ast.AnnAssign):
                continue
            key, kind = ast.unparse(field.target), ast.unparse(field.annotation)
            if kind in made:
                waiting.append((kind, f"{prefix}{key}."))
            elif not kind.startswith("dict"):
                choices = _choices(field.annotation) if prefix + key not in CLASSES else classes(prefix + key)
                keys.append(Key(prefix + key, kind, choices, _default(field.value), " ".join(said.get(key, "").split())))
        yield doc.partition(".")[0], keys


def add_keys(parser: Parser) -> None:
    """Show the keys in a parser's help and completion; the words themselves are read by another."""
    parser.offers = {**parser.offers, **PATHS}
    for heading, keys in sections():
        group = parser.add_argument_group(heading[0].lower() + heading[1:])
        for key in keys:
            if {f"--{key.name}", f"--{key.name.replace('_', '-')}"} & set(parser._option_string_actions):
                continue  # said already
            named = key.name in CLASSES
            names = f": {', '.join(key.choices)}" if named else ""
            default = f" (default {key.default})" if key.default else ""
            group.add_argument(
                f"--{key.name}",
                metavar=None if key.choices and not named else _METAVAR.get(re.split(r"\W", key.kind)[0], "NAME"),
                choices=key.choices or None,
                help=f"{key.help.rstrip('.')}{names}{default}".replace("%", "%%"),
            )


def _choices(annotation: ast.expr) -> list[str]:
    """The values that a Literal or bool allows; of a list of them none, for it is written as one."""
    kind = ast.unparse(annotation)
    literals = [
        node.slice for node in ast.walk(annotation) if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"
    ]
    named = [str(node.value) for inside in literals for node in ast.walk(inside) if isinstance(node, ast.Constant)]
    return [] if kind.startswith("tuple") else ["true", "false"] * kind.startswith("bool") + named


def _default(value: ast.expr | None) -> str:
    """A value as the command line takes it; of a factory its name."""
    match value:
        case ast.Constant(value=bool(given)):
            return str(given).lower()
        case ast.Constant(value=None) | ast.Tuple(elts=[]) | None:
            return ""
        case ast.Call(keywords=[ast.keyword(value=factory)]):
            return ast.unparse(factory)
        case ast.Tuple():
            return "[" + ",".join(map(str, ast.literal_eval(value))) + "]"
        case _:
            return ast.unparse(value).strip("'")
