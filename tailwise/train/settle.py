"""What a recipe leaves open, decided by the data, the objective and the hardware, so that ``recipe.yaml`` says it all."""

import functools
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from tailwise.data.sources.listing import lists_several
from tailwise.data.views import Normalisation
from tailwise.losses import Objective
from tailwise.models import pretrained
from tailwise.train import multilabel, parse
from tailwise.train.choose import Choice, corrects, told
from tailwise.train.engine import precision
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Engine
from tailwise.types import TailwiseError


def first_choice(words: Sequence[str]) -> dict[str, Any]:
    """The objective of a run whose user names no recipe and nothing that goes against it: it names the run, before its data."""
    if corrects(told(words)):
        return {}
    source = next((word.partition("=")[2] for word in words if word.startswith("--data.source=")), "")
    several = {"class_path": multilabel.OBJECTIVE, "init_args": {"tau": multilabel.TAU}}
    return {"objective": several if lists_several(Path(source).expanduser()) else {"class_path": "LogitAdjusted"}}


def unsaid(record: Namespace, words: Sequence[str], prepared: Prepared) -> tuple[Namespace, Prepared, tuple[Choice, ...]]:
    """A record made of the ``words`` of a command line alone, the rest chosen from the data instead of by fixed defaults.

    Gives the record, the data as it reads them, and what was chosen, which is said on standard error, a line each.
    """
    chosen = prepared.choices(record, told(words), objective_class(record).views)
    record = parse.resolve(functools.reduce(parse.overlay, (choice.keys for choice in chosen), first_choice(words)), words)
    size, presets = record.data.image_size or prepared.size, tuple(record.data.views) or prepared.presets
    if chosen and record.engine.progress != "none":
        print("chosen from the data, with the option that changes it:", *chosen, sep="\n  ", file=sys.stderr)
    return record, replace(prepared, size=size, presets=presets), chosen


def normalised(record: Namespace, prepared: Prepared) -> Prepared:
    """The data as the run's network expects its pixels: those of pretrained weights, unless the record says otherwise."""
    if record.data.normalisation is not None or record.model.weights == "none":
        return prepared
    name = prepared.backbone if record.model.backbone == "auto" else record.model.backbone
    found = pretrained.normalisation(name)
    return prepared if found is None else replace(prepared, normalise=Normalisation(*found))


def settle(record: Namespace, prepared: Prepared) -> Namespace:
    """A copy of the record with nothing left to choose: path, size, pixels, views, network, batch size, precision."""
    settled = record.clone()
    source = Path(record.data.source).expanduser()
    settled.data.source = str(source.resolve()) if source.exists() else record.data.source
    settled.data.image_size, settled.data.views = prepared.size, prepared.presets
    settled.data.normalisation = (prepared.normalise.mean, prepared.normalise.std)
    if record.model.backbone == "auto":
        settled.model.backbone = prepared.backbone
    if record.model.decoder == "auto":
        settled.model.decoder = prepared.decoder
    if record.model.classifier == "auto":
        settled.model.classifier = objective_class(record).classifier
    for option, value in prepared.objective_options(objective_class(record)).items():
        settled.objective.init_args[option] = value
    if record.batch_size is None:
        settled.batch_size = prepared.batch_size(objective_class(record).views)
    if settled.model.adapter != "none" and settled.model.decoder != "none":
        raise TailwiseError("model.adapter: a network for pixels is trained whole; leave it out")
    if settled.model.adapter != "none" and settled.model.weights == "none":
        raise TailwiseError("model.adapter: keeps the weights that it finds; set model.weights, pretrained or a file")
    settled.engine.precision = precision(Engine(**vars(record.engine)))
    return settled


def objective_class(record: Namespace) -> type[Objective]:
    """The class that the record's objective names."""
    module, name = record.objective.class_path.rsplit(".", 1)
    return getattr(import_module(module), name)  # type: ignore[no-any-return]
