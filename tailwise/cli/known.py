"""What can be named on the command line, read from the package's own files: importing them would load torch first."""

import ast
from pathlib import Path

from tailwise.cli.parser import Offer

PACKAGE = Path(__file__).parents[1]
CLASSES = {
    "objective": ("losses", "Objective"),
    "sampler": ("data/samplers.py", "Sampler"),
    "schedule": ("train/optim.py", "Schedule"),
    "post_hoc": ("posthoc", "PostHoc"),
}
"""The keys of a recipe that name a class: where the classes are, and what they derive from."""


def sources() -> list[str]:
    """The data sets that have a name."""
    return ["digits", "cifar10", "cifar100", "imagenet_lt", "places_lt", "inaturalist18", "camvid", "ade20k", "cityscapes"]


def recipes() -> list[str]:
    """The shipped recipes, such as ``digits_lt/gml``."""
    root = PACKAGE / "recipes"
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))


def classes(key: str) -> list[str]:
    """The classes that ``key`` of a recipe may name: those below its root, but for abstract ones."""
    where, root = CLASSES[key]
    files = [PACKAGE / where] if where.endswith(".py") else (PACKAGE / where).glob("*.py")
    bases = {name: {ast.unparse(base) for base in node.bases} for path in files for name, node in in_file(path).items()}
    below = {root}
    while more := {name for name, above in bases.items() if above & below} - below:
        below |= more
    return sorted(name for name in below - {root} if "ABC" not in bases[name])


def objectives() -> list[str]:
    """What training may minimise."""
    return classes("objective")


def formats() -> list[str]:
    """What a model is written as."""
    return ["onnx", "torch", "safetensors"]


def priors() -> list[str]:
    """The class shares to predict for that have a name."""
    return ["uniform", "train", "estimate"]


def in_file(path: Path) -> dict[str, ast.ClassDef]:
    """The classes that a file defines."""
    return {node.name: node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)}


SOURCE = Offer(sources, "file")
RECIPE = Offer(recipes, "file")
OBJECTIVE = Offer(objectives)
FORMAT = Offer(formats)
PRIOR = Offer(priors, "file")
