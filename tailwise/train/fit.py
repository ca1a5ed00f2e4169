"""The job: from a source and a recipe to a judged run folder."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace

from tailwise.data.checks import write_issues
from tailwise.files import write_whole
from tailwise.train import parse
from tailwise.train.engine import build_task, build_trainer, train
from tailwise.train.judge import judge_run
from tailwise.train.prepare import Prepared, prepare
from tailwise.train.recipe import Data, Recipe
from tailwise.train.run import (
    CHECKPOINT,
    ISSUES,
    MANIFEST,
    RECIPE,
    Run,
    check_folder,
    new_folder,
    surroundings,
)
from tailwise.train.settle import objective_class, settle
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
    if source is None and recipe is None and not any("data.source" in word for word in overrides):
        raise TailwiseError("fit: nothing to train on; name a source, such as digits or a folder, or a recipe")
    words = [f"--{key}={_word(value)}" for key, value in given.items() if value is not None]
    words += [f"--{k}={_word(v)}" for k, v in overrides.items()] if isinstance(overrides, Mapping) else overrides
    record = parse.resolve(parse.read(recipe) if recipe else {}, words)
    name = Path(recipe).stem if recipe else objective_class(record).__name__
    folder = Path(out) if out else Path("runs") / f"{Path(record.data.source).stem}-{name}-{record.seed}"
    check_folder(folder, overwrite)
    prepared = prepare(_without_needs(record).data, folder / ISSUES)
    record = settle(record, prepared)
    _rehearse(_without_needs(record), prepared, folder)
    new_folder(folder, overwrite)
    if issues := prepared.source.issues:
        write_issues(issues, folder / ISSUES)
        print(f"{len(issues)} bad images are skipped, listed in {folder / ISSUES}", file=sys.stderr)
    with _named(folder):
        return _run(record, folder, str(recipe or name), prepared)


def resume(folder: str | Path) -> Run:
    """Continue an interrupted run from its last checkpoint; refuses one that is finished, foreign, or on other data."""
    run = Run(folder)
    if run.finished:
        raise TailwiseError(f"{run.path}: is finished already; judge it again with `tailwise evaluate {run.path}`")
    record = parse.resolve(parse.read(run.path / RECIPE), ())
    with _named(run.path):
        return _run(record, run.path, run.manifest["recipe"] if (run.path / MANIFEST).is_file() else run.path.name)


def evaluate(folder: str | Path) -> Run:
    """Judge a trained run again, on the data of its recipe, and rewrite its ``result.json``."""
    run = Run(folder)
    recipe = _without_needs(parse.resolve(parse.read(run.path / RECIPE), ()))
    prepared = prepare(recipe.data)
    _same_data(run, prepared)
    judge_run(run, recipe, prepared, run.result["seconds"])
    return run


def _run(record: Namespace, folder: Path, name: str, prepared: Prepared | None = None) -> Run:
    """Train what is needed, then this, then judge it; continues where the folder holds a checkpoint."""
    write_whole(folder / RECIPE, parse.dump(record).encode())
    run = Run(folder)
    prepared = prepared or prepare(Data(**vars(record.data)), folder / ISSUES)
    if (folder / MANIFEST).is_file():
        _same_data(run, prepared)
    for needed in sorted(set(NEEDED.findall(run.recipe_text))):
        _ensure(record, folder, needed, prepared)
    recipe = parse.build(_filled(record, folder))
    if recipe.engine.threads:
        torch.set_num_threads(recipe.engine.threads)
    about = {"recipe": name, "objective": objective_class(record).__name__, "seed": recipe.seed, "selection": "last epoch"}
    about["data"] = prepared.manifest(recipe.data)
    begun = run.manifest if (folder / MANIFEST).is_file() else {"command": _command(), **surroundings()}
    run.write(MANIFEST, {**begun, **about})
    seconds = train(run, recipe, prepared)
    judge_run(run, recipe, prepared, seconds)
    return run


def _ensure(record: Namespace, folder: Path, needed: str, prepared: Prepared) -> None:
    """Train the run that the recipe calls ``needed`` on the same data with the same seed, unless it is there."""
    where, wanted = _needed_folder(record, folder, needed), record.needs[needed]
    if where != _own_folder(folder, needed):
        if not Run(where).finished:
            raise TailwiseError(f"needs {needed}: {where} is not finished; first `tailwise fit --resume {where}`")
        if (classes := len(Run(where).manifest["data"]["classes"])) != len(prepared.names):
            raise TailwiseError(f"needs {needed}: {where} has {classes} classes, the data {len(prepared.names)}; name another")
        return
    dumped = yaml.safe_load(parse.dump(record))
    shared = {key: dumped[key] for key in ("data", "seed", "engine")}
    shared["data"].pop("views")  # augmentation belongs to the method; the images to the run
    asked = parse.resolve(parse.overlay(parse.read(wanted), shared), ())
    prepared = replace(prepared, presets=tuple(asked.data.views) or prepared.presets)
    asked = settle(asked, prepared)
    if (where / RECIPE).is_file() and _method(Run(where).recipe_text) == _method(parse.dump(asked)):
        if Run(where).finished:
            _same_data(Run(where), prepared)
            return
        if (where / CHECKPOINT).is_file():
            resume(where)
            return
    print(f"needs {needed}: training {wanted} first, in {where}", file=sys.stderr)
    new_folder(where, overwrite=(where / RECIPE).is_file())
    _run(asked, where, wanted, prepared)


def _method(recipe_text: str) -> dict[str, Any]:
    """What decides a run's weights: all of its recipe but the engine."""
    return {key: value for key, value in yaml.safe_load(recipe_text).items() if key != "engine"}


def _own_folder(folder: Path, needed: str) -> Path:
    return folder / "needs" / needed


def _needed_folder(record: Namespace, folder: Path, needed: str) -> Path:
    if needed not in record.needs:
        raise TailwiseError(f"recipe: uses ${{needs.{needed}}} but `needs:` has no {needed!r}; name a recipe or a run there")
    given = Path(record.needs[needed])
    return given if (given / RECIPE).is_file() else _own_folder(folder, needed)


def _filled(record: Namespace, folder: Path) -> Namespace:
    """The record with the folders of the needed runs in place."""
    text = NEEDED.sub(lambda m: str(_needed_folder(record, folder, m[1])), parse.dump(record))
    return parse.resolve(yaml.safe_load(text), ())


def _without_needs(record: Namespace) -> Recipe:
    """The recipe without those options of its objective that come from needed runs: all but training can do with it."""
    text = yaml.safe_load(parse.dump(record))
    options = text["objective"].get("init_args", {})
    text["objective"]["init_args"] = {key: value for key, value in options.items() if not NEEDED.search(str(value))}
    return parse.build(parse.resolve(text, ()))


def _rehearse(recipe: Recipe, prepared: Prepared, folder: Path) -> None:
    """Build all that training will: a mistake must not cost an older run, nor the time of a teacher."""
    prepared.views(build_task(recipe, prepared).objective.views)
    build_trainer(folder, recipe, [])


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """An interrupt says which run it stopped."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(str(folder)) from None


def _same_data(run: Run, prepared: Prepared) -> None:
    then = run.manifest["data"]
    if then["sha256"] != prepared.source.sha256 or then["train_counts"] != prepared.counts.tolist():
        raise TailwiseError(f"{run.path}: the data have changed since this run began ({then['source']}); start a new run")


def _command() -> str:
    """How this process was started."""
    program = Path(sys.argv[0]).name
    return " ".join(["tailwise" if program in ("tailwise", "cli.py") else program, *sys.argv[1:]])


def _word(value: Any) -> str:
    """A value as one word of the command line."""
    if isinstance(value, str | Path):
        return str(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).split("\n")[0]
