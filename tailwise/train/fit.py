"""The job: from a source and a recipe to a judged run folder."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace

from tailwise.data.checks import write_issues
from tailwise.files import go_on, write_whole
from tailwise.notice import named
from tailwise.train import loggers, needs, parse, same
from tailwise.train.choose import Choice
from tailwise.train.engine import build_task
from tailwise.train.finish import finish
from tailwise.train.follow import follow
from tailwise.train.judge import PAGE, judge_run
from tailwise.train.launch import as_launched, call, check_begun, has_begun, is_follower, launched, leading, shared_out
from tailwise.train.limit import plan, until
from tailwise.train.prepare import prepare, torn_groups
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Data
from tailwise.train.rehearse import lasting, rehearse
from tailwise.train.run import (
    CHECKPOINT,
    ISSUES,
    MANIFEST,
    RECIPE,
    Run,
    check_folder,
    locked,
    new_folder,
    surroundings,
    write_json,
)
from tailwise.train.settle import first_choice, normalised, objective_class, settle, unsaid
from tailwise.types import TailwiseError


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
    started: float | None = None,
) -> Run:
    """Train a recogniser and judge it; returns its `Run`.

    ``source`` is ``digits``, ``cifar10``, ``cifar100`` or a path (see `tailwise.data.open_source`); ``recipe`` the name
    of a shipped recipe or a YAML file; the other options override it, and ``overrides`` any dotted key, as in
    ``{"objective.queue_size": 8192}`` or as words of the command line. Runs that the recipe needs, such as a teacher,
    are trained first, inside the folder. What nobody says is chosen from the data (`tailwise.train.choose`), told on
    standard error, and kept in the manifest. ``started``, in seconds of `time.monotonic`, is when a bound of ``max_minutes``
    begins, by default now. Raises `TailwiseError`, one line, for anything that the user can mend.
    """
    started = time.monotonic() if started is None else started
    if is_follower():
        return follow()
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
    words = [f"--{key}={parse.word(value)}" for key, value in given.items() if value is not None]
    words += [f"--{k}={parse.word(v)}" for k, v in overrides.items()] if isinstance(overrides, Mapping) else overrides
    record = parse.resolve(parse.read(recipe) if recipe else first_choice(words), words)
    name = Path(recipe).stem if recipe else objective_class(record).__name__
    folder = Path(out) if out else Path("runs") / f"{Path(record.data.source).stem}-{name}-{record.seed}"
    if not (begun := has_begun(folder, overwrite)):
        check_folder(folder, overwrite)
    loggers.check(record.engine.loggers)
    needs.check(record)
    prepared = prepare(needs.without(record).data, folder / ISSUES)
    chosen: tuple[Choice, ...] = ()
    if recipe is None:
        record, prepared, chosen = unsaid(record, words, prepared)
    prepared = normalised(record, prepared)
    record = as_launched(settle(record, prepared))
    if begun:
        check_begun(record, folder)
        return resume(folder, started)
    rehearse(needs.without(record), prepared, folder)
    record, limit = plan(record, prepared, started)  # last, as it takes a while and a mistake should not
    facts = {"chosen": [asdict(choice) for choice in chosen], "time_limit": limit}
    with locked(folder):
        new_folder(folder, overwrite)
        if issues := prepared.source.issues:
            write_issues(issues, folder / ISSUES)
            print(f"{len(issues)} bad images are skipped, listed in {folder / ISSUES}", file=sys.stderr)
        for name_of, torn in torn_groups(prepared).items():
            said = f"groups of images that lie in train and in {name_of}: {len(torn)}, such as {torn[0]}"
            print(f"{said}; what is measured on {name_of} will be too good", file=sys.stderr)
        with named(folder), leading(folder):
            return _run(record, folder, str(recipe or name), prepared, started, facts)


def resume(folder: str | Path, started: float | None = None) -> Run:
    """Continue an interrupted run from its last checkpoint; refuses one that is finished, foreign, edited, or on other data."""
    if is_follower():
        return follow()
    run = Run(folder)
    with named(run.path), leading(run.path):
        return _resume(run, started)


def _resume(run: Run, started: float | None = None) -> Run:
    with locked(run.path):
        if run.finished and launched():  # of a launcher that started again for want of another process
            return run
        if run.finished and (run.path / PAGE).is_file():
            raise TailwiseError(f"{run.path}: is finished already; judge it again with `tailwise evaluate {run.path}`")
        if not run.finished:
            record = parse.resolve(parse.read(run.path / RECIPE), ())
            same.same_recipe(run, same.settings(parse.dump(record)))
            if not (run.path / CHECKPOINT).is_file():
                print(f"{run.path}: no checkpoint yet; it begins at the first step", file=sys.stderr)
            name = run.manifest["recipe"] if (run.path / MANIFEST).is_file() else run.path.name
            return _run(record, run.path, name, started=started)
    return evaluate(run.path)  # it was cut off between its result and its page


def evaluate(folder: str | Path) -> Run:
    """Judge a trained run again, on the data of its recipe, and rewrite its ``result.json``."""
    run = Run(folder)
    recipe = needs.without(parse.resolve(parse.read(run.path / RECIPE), ()))
    prepared = prepare(recipe.data)
    same.same_data(run, prepared)
    known: dict[str, Any] = {}
    with suppress(TailwiseError):  # a damaged result is what this is asked to replace
        known = run.result
    with locked(run.path):
        kept = ("seconds", "peak_memory_mb", "epochs", "time_limit")
        judge_run(run, recipe, prepared, {key: known[key] for key in kept if key in known})
    return run


def _run(
    record: Namespace,
    folder: Path,
    name: str,
    prepared: Prepared | None = None,
    started: float | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Run:
    """Train what is needed, then this, then judge it; continues where the folder holds a checkpoint.

    The command was ``started`` then, by `time.monotonic`; ``facts`` also go into the manifest.
    """
    started = time.monotonic() if started is None else started
    with lasting():
        from tailwise.train.trainer import train

    data, text = Data(**vars(record.data)), parse.dump(record)
    prepared = prepared or prepare(data, folder / ISSUES)
    begun = {"command": _command(), **surroundings(), same.SETTINGS: same.settings(text)}
    if resumed := (folder / RECIPE).is_file() and (folder / MANIFEST).is_file():
        same.same_data(Run(folder), prepared)
        begun = Run(folder).manifest
    if record.engine.threads:
        torch.set_num_threads(record.engine.threads)
    about = {"recipe": name, "objective": objective_class(record).__name__, "seed": record.seed, "selection": "last epoch"}
    about["data"] = prepared.manifest(data)
    write_json(folder / MANIFEST, {**begun, **about, **(facts or {})})
    write_whole(folder / RECIPE, text.encode(), go_on(folder))  # with it the folder is a run, so it has the manifest by then
    run = Run(folder)
    for needed in needs.names(record):
        _ensure(record, folder, needed, prepared, resumed)
    limit = until(run, started)
    call(folder, limit)
    recipe = shared_out(parse.build(needs.filled(record, folder)), folder)
    task = build_task(recipe, prepared)
    cost = train(task, run, recipe, prepared, limit)
    finish(task, run, recipe, prepared)
    judge_run(run, recipe, prepared, cost)
    return run


def _ensure(record: Namespace, folder: Path, needed: str, prepared: Prepared, resumed: bool) -> None:
    """Train the run that the recipe calls ``needed`` on the same data with the same seed, unless it is there.

    Of a ``resumed`` run it is there as it began, whatever became of the file of its recipe; in a folder that is
    overwritten it may be of an older run, and is kept where it would be the same.
    """
    where, wanted = needs.folder_of(record, folder, needed), record.needs[needed]
    if where != needs.own_folder(folder, needed):
        if not Run(where).finished:
            raise TailwiseError(f"needs {needed}: {where} is not finished; first `tailwise fit --resume {where}`")
        if (classes := len(Run(where).manifest["data"]["classes"])) != len(prepared.names):
            raise TailwiseError(f"needs {needed}: {where} has {classes} classes, the data {len(prepared.names)}; name another")
        return
    if resumed and _there(where, prepared):
        return
    dumped = yaml.safe_load(parse.dump(record))
    shared = {key: dumped[key] for key in ("data", "seed", "engine")}
    shared["data"].pop("views")  # augmentation belongs to the method; the images to the run
    asked = parse.resolve(parse.overlay(parse.read(wanted), shared), ())
    prepared = replace(prepared, presets=tuple(asked.data.views) or prepared.presets)
    asked = settle(asked, prepared)
    known = (where / RECIPE).is_file()
    if known and _method(Run(where).recipe_text) == _method(parse.dump(asked)) and _there(where, prepared):
        return
    print(f"needs {needed}: training {wanted} first, in {where}", file=sys.stderr)
    with locked(where):
        new_folder(where, overwrite=known)
        _run(asked, where, wanted, prepared)


def _there(where: Path, prepared: Prepared) -> bool:
    """Whether a needed run is finished, by now if it was begun."""
    if not (where / RECIPE).is_file():
        return False
    if Run(where).finished:
        same.same_data(Run(where), prepared)
    elif (where / CHECKPOINT).is_file():
        _resume(Run(where))
    return Run(where).finished


def _method(recipe_text: str) -> dict[str, Any]:
    """What decides a run's weights: all of its recipe but the engine."""
    return {key: value for key, value in yaml.safe_load(recipe_text).items() if key != "engine"}


def _command() -> str:
    """How this process was started."""
    program = Path(sys.argv[0]).name
    return shlex.join(["tailwise" if program in ("tailwise", "__main__.py") else program, *sys.argv[1:]])
