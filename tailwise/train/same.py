"""Whether a run that is continued is still the one that began: what its recipe and its data were then, and are now."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

import yaml

from tailwise.train.prepared import Prepared
from tailwise.train.run import MANIFEST, RECIPE, Run
from tailwise.train.written import load
from tailwise.types import TailwiseError

SETTINGS = "settings"
"""The key of the manifest under which a run keeps the recipe that it began with."""
FREE = (
    "about",
    "data.source",
    "data.download",
    *(f"engine.{key}" for key in ("workers", "threads", "progress", "loggers", "save_every")),
)
"""Keys that may be edited between two parts of a run: they change nothing that is trained, for the data have their hash."""
SHOWN = 4
"""Differences that a message names; of more it says how many."""


def settings(recipe_text: str) -> dict[str, Any]:
    """A recipe of `tailwise.train.parse.dump` as plain values."""
    return cast(dict[str, Any], yaml.safe_load(recipe_text))


def stamp(run: Run) -> dict[str, str]:
    """What a checkpoint must have been made with: hashes of the recipe, but for what is `FREE`, and of the data."""
    path = run.path / RECIPE
    decides = {key: value for key, value in _flat(load(path, str(path))).items() if not key.startswith(FREE)}
    found = {"recipe": hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()}
    return found | ({"data": run.manifest["data"]["sha256"]} if (run.path / MANIFEST).is_file() else {})


def same_recipe(run: Run, now: Mapping[str, Any]) -> None:
    """Refuse, with `TailwiseError`, a ``recipe.yaml`` that was edited since the run began, and name the keys."""
    then = run.manifest.get(SETTINGS) if (run.path / MANIFEST).is_file() else None
    if then is None:  # of an older version, or lost: the checkpoint has a hash of it
        return
    if other := changed(then, now):
        raise TailwiseError(
            f"{run.path / RECIPE}: edited since this run began ({other}); put it back, or start a run with another --out"
        )


def changed(then: Mapping[str, Any], now: Mapping[str, Any], *free: str) -> str:
    """In what two recipes differ, in words, but for what is `FREE` and the keys that begin with one of ``free``."""
    before, after = _flat(then), _flat(now)
    keys = [key for key in before if before[key] != after.get(key) and not key.startswith((*FREE, *free))]
    return _some([f"{key} {_short(before[key])}, now {_short(after.get(key))}" for key in keys])


def same_data(run: Run, now: Prepared) -> None:
    """Refuse, with `TailwiseError`, other data than those that the run began with, and say in what they differ."""
    then, counts = run.manifest["data"], now.counts.tolist()
    if then["sha256"] == now.source.sha256 and then["train_counts"] == counts:
        return
    names = {"classes": (then["classes"], now.names)} if then["classes"] != now.names else {}
    known = {} if names else dict(zip(now.names, zip(then["train_counts"], counts, strict=False), strict=False))
    samples = {name: len(split.labels) for name, split in now.splits().items()}
    told = {
        "sha256": (then["sha256"][:12], now.source.sha256[:12]),
        "classes": (len(then["classes"]), len(now.names)),
        **{f"{name} samples": (then.get("samples", {}).get(name), number) for name, number in samples.items()},
        **{f"training samples of {name}": pair for name, pair in known.items()},
    }
    other = [f"{what} {_short(before)}, now {_short(after)}" for what, (before, after) in told.items() if before != after]
    raise TailwiseError(
        f"{run.path}: the data have changed since this run began ({_some(other)}; {now.source.name}); start a new run"
    )


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The values by their dotted keys, as JSON has them."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) and value else {f"{above}{key}": value}
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _some(texts: list[str]) -> str:
    more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more
