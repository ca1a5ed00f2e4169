"""The job: from a source and a recipe to a judged run folder."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace

from tailwise.train import parse
from tailwise.train.engine import train
from tailwise.train.judge import judge_run
from tailwise.train.prepare import Prepared, prepare
from tailwise.train.recipe import Data
from tailwise.train.run import CHECKPOINT, ISSUES, MANIFEST, RECIPE, RESULT, Run, new_folder, surroundings
from tailwise.types import TailwiseError

NEEDED = re.compile(r"\$\{needs\.(\w+)\}")
"""Where a recipe wants the folder of a run that it needs, it says ``${needs.NAME}``."""


def fit(
    source: str | Path | None = None,
    *,
    recipe: str | Path | None = None,
    objective: str | None = None,
    imbalance_factor: float | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    strict: bool | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
) -> Run:
    """Train a recogniser and judge it; returns its `Run`.

    ``source`` is ``digits``, ``cifar10``, ``cifar100`` or a path (see `tailwise.data.open_source`); ``recipe`` the name
    of a shipped recipe or a YAML file; the other options override it, and ``overrides`` any dotted key, as in
    ``{"objective.queue_size": 8192}`` or as words of the command line. Runs that the recipe needs, such as a teacher,
    are trained first, inside the folder. Raises `TailwiseError`, one line, for anything that the user can mend.
    """
    given = {
        "data.source": source,
        "objective": objective,
        "data.imbalance_factor": imbalance_factor,
        "epochs": epochs,
        "seed": seed,
        "data.strict": strict,
    }
    words = [f"--{key}={_word(value)}" for key, value in given.items() if value is not None]
    words += [f"--{k}={_word(v)}" for k, v in overrides.items()] if isinstance(overrides, Mapping) else overrides
    record = parse.resolve(parse.read(recipe) if recipe else {}, words)
    name = Path(recipe).stem if recipe else _class_name(record)
    folder = Path(out) if out else Path("runs") / f"{Path(record.data.source).stem}-{name}-{record.seed}"
    new_folder(folder, overwrite)
    return _run(record, folder, str(recipe or name))


def resume(folder: str | Path) -> Run:
    """Continue an interrupted run from its last checkpoint; refuses one that is finished, foreign, or on other data."""
    run = Run(folder)
    if run.finished:
        raise TailwiseError(f"{run.path}: is finished already; judge it again with `tailwise evaluate {run.path}`")
    record = parse.resolve(yaml.safe_load(run.recipe_text), ())
    return _run(record, run.path, run.manifest["recipe"] if (run.path / MANIFEST).is_file() else run.path.name)


def evaluate(folder: str | Path) -> Run:
    """Judge a trained run again, on the data of its recipe, and rewrite its ``result.json``."""
    run = Run(folder)
    recipe = parse.build(_filled(parse.resolve(yaml.safe_load(run.recipe_text), ()), run.path))
    prepared = prepare(recipe.data)
    _same_data(run, prepared)
    judge_run(run, recipe, prepared, run.result["seconds"])
    return run


def _run(record: Namespace, folder: Path, name: str) -> Run:
    """Train what is needed, then this, then judge it; continues where the folder holds a checkpoint."""
    (folder / RECIPE).write_text(parse.dump(record), encoding="utf-8")
    run = Run(folder)
    prepared = prepare(Data(**vars(record.data)), folder / ISSUES)
    if (folder / MANIFEST).is_file():
        _same_data(run, prepared)
    for needed in sorted(set(NEEDED.findall(run.recipe_text))):
        _ensure(record, folder, needed)
    recipe = parse.build(_filled(record, folder))
    if recipe.engine.threads:
        torch.set_num_threads(recipe.engine.threads)
    about = {"recipe": name, "objective": _class_name(record), "seed": recipe.seed, "selection": "last epoch"}
    about["data"] = prepared.manifest(recipe.data)
    run.write(MANIFEST, {**about, **surroundings(), "command": " ".join(["tailwise", *map(str, sys.argv[1:])])})
    seconds = train(run, recipe, prepared)
    judge_run(run, recipe, prepared, seconds)
    return run


def _ensure(record: Namespace, folder: Path, needed: str) -> None:
    """Train the run that the recipe calls ``needed`` on the same data with the same seed, unless it is there."""
    where = _needed_folder(record, folder, needed)
    if (where / RESULT).is_file():
        return
    wanted = record.needs[needed]
    if (where / CHECKPOINT).is_file():
        resume(where)
        return
    print(f"needs {needed}: training {wanted} first, in {where}", file=sys.stderr)
    dumped = yaml.safe_load(parse.dump(record))
    shared = {key: dumped[key] for key in ("data", "seed", "engine")}
    shared["data"].pop("views")  # augmentation belongs to the method; the images to the run
    new_folder(where, overwrite=(where / RECIPE).is_file())
    _run(parse.resolve(parse.overlay(parse.read(wanted), shared), ()), where, wanted)


def _needed_folder(record: Namespace, folder: Path, needed: str) -> Path:
    if needed not in record.needs:
        raise TailwiseError(f"recipe: uses ${{needs.{needed}}} but `needs:` has no {needed!r}; name a recipe or a run there")
    given = Path(record.needs[needed])
    return given if (given / RECIPE).is_file() else folder / "needs" / needed


def _filled(record: Namespace, folder: Path) -> Namespace:
    """The record with the folders of the needed runs in place."""
    text = NEEDED.sub(lambda m: str(_needed_folder(record, folder, m[1])), parse.dump(record))
    return parse.resolve(yaml.safe_load(text), ())


def _same_data(run: Run, prepared: Prepared) -> None:
    then = run.manifest["data"]
    if then["sha256"] != prepared.source.sha256 or then["train_counts"] != prepared.counts.tolist():
        raise TailwiseError(f"{run.path}: the data have changed since this run began ({then['source']}); start a new run")


def _class_name(record: Namespace) -> str:
    """The name of the record's objective."""
    return str(record.objective.class_path.rsplit(".", 1)[-1])


def _word(value: Any) -> str:
    """A value as one word of the command line."""
    if isinstance(value, str | Path):
        return str(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).split("\n")[0]
