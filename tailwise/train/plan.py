"""What a bench has to run: a cell for each recipe and seed, and one for each run that several of them need."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from tailwise.train import needs, parse
from tailwise.train.explain import nearest
from tailwise.train.run import RECIPE, Run
from tailwise.types import TailwiseError

SETTLED = (
    *("batch_size", "model.backbone", "model.decoder", "model.classifier"),
    *("data.image_size", "data.normalisation", "data.views", "objective.init_args.samples"),
)
"""What a recipe may leave open and a run has decided (`tailwise.train.settle`)."""


@dataclass(frozen=True)
class Cell:
    """One run of a bench: ``recipe`` under ``words`` (overrides, seed included), in ``folder``."""

    name: str  # its row: the recipe's name, and how it differs where a dependent asks for other data
    recipe: str
    seed: int
    folder: Path
    words: tuple[str, ...]
    needs: tuple["Cell", ...] = ()
    refused: str = ""  # why it cannot be run, if planning found a reason

    def record(self) -> Namespace:
        """The validated record; raises `TailwiseError` for a cell that is refused."""
        if self.refused:
            raise TailwiseError(self.refused)
        return parse.resolve(parse.read(self.recipe), self.words)

    def difference(self) -> str | None:
        """What the run in the folder was asked that this cell does not ask, in words; None where they agree."""
        there = parse.resolve(parse.read(self.folder / RECIPE), ())
        for need in self.needs:
            tail = Path(need.name, str(need.seed)).parts  # the bench may have been moved since
            if not any(path == need.recipe or Path(path).parts[-len(tail) :] == tail for path in there.needs.values()):
                return f"needs is {there.needs} there, {need.name} is asked"
        return _difference(_plain(self.record()), _plain(there))

    def command(self) -> list[str]:
        """The words of `tailwise fit` that begin the run in the folder, or continue it."""
        if self.begun:
            return ["--resume", str(self.folder)]
        return ["--recipe", self.recipe, "--out", str(self.folder), *self.words]

    @property
    def log(self) -> Path:
        """What the run says, beside its folder."""
        return self.folder.with_name(f"{self.seed}.log")

    @property
    def begun(self) -> bool:
        """Whether a run lies in the folder, finished or not."""
        return (self.folder / RECIPE).is_file()

    @property
    def done(self) -> bool:
        """Whether the run in the folder is finished."""
        return self.begun and Run(self.folder).finished


def expand(patterns: Sequence[str]) -> list[str]:
    """The recipes that the patterns name: shipped ones by glob, or YAML files; each once, in the order given.

    Raises `TailwiseError` for a pattern that names none.
    """
    known = parse.shipped()
    found: dict[Path, str] = {}
    for pattern in patterns:
        matching = [pattern] if Path(pattern).is_file() else fnmatch.filter(known, pattern)
        if not matching:
            raise TailwiseError(f"bench: no recipe {pattern!r}; {nearest(pattern, known)}")
        for recipe in matching:
            found.setdefault(parse.find(recipe).resolve(), recipe)
    return list(found.values())


def plan(patterns: Sequence[str], seeds: Sequence[int], out: Path, overrides: Sequence[str]) -> tuple[list[Cell], list[str]]:
    """The cells of a table, seed by seed, each after those that it needs, and the rows asked for; a shared cell is there once.

    A recipe that cannot be run still gives its cells, ``refused``, so that it fails alone and stands in the table. Of two
    files that would share a folder, the second is refused.
    """
    planned = _Plan(out, tuple(overrides))
    asked = [planned.add(recipe, seed).name for seed in seeds for recipe in expand(patterns)]  # every row early
    return list(planned.cells.values()), list(dict.fromkeys(asked))


class _Plan:
    """The cells so far, by row and seed."""

    def __init__(self, out: Path, words: tuple[str, ...]) -> None:
        self.out, self.words = out, words
        self.cells: dict[tuple[str, int], Cell] = {}
        self.records: dict[tuple[str, ...], Namespace] = {}

    def add(self, recipe: str, seed: int, more: Mapping[str, Any] | None = None) -> Cell:
        """The cell of a recipe, with ``more`` of its data section set, after the cells of the recipes that it needs."""
        words = self._words(recipe)
        stem = Path(recipe).stem if Path(recipe).is_file() else recipe
        row = ",".join([stem, *(f"{key}={value}".replace("/", "_") for key, value in (more or {}).items())])
        words = (*words, *(f"--data.{key}={parse.word(value)}" for key, value in (more or {}).items()), f"--seed={seed}")
        if there := self.cells.get((row, seed)):
            if parse.find(there.recipe).samefile(parse.find(recipe)):
                return there
            clash = f"{there.recipe} and {recipe} would write to one folder, {there.folder.parent}; rename one"
            return self.cells.setdefault((recipe, seed), Cell(recipe, recipe, seed, there.folder, words, refused=clash))
        cell = Cell(row, recipe, seed, self.out / row / str(seed), words)
        try:
            needed = self._needed(cell)
            found = tuple(f"--needs.{key}={need.folder.resolve()}" for key, need in needed.items())
            cell = replace(cell, words=(*words, *found), needs=tuple(needed.values()))
        except TailwiseError as error:
            cell = replace(cell, refused=str(error))
        return self.cells.setdefault((row, seed), cell)

    def _needed(self, cell: Cell) -> dict[str, Cell]:
        """The cells of the recipes that the cell's ``needs:`` names; each is trained on the cell's data."""
        own, found = self._record(cell.recipe, cell.words[:-1]), {}
        for key in needs.names(own):
            if (wanted := needs.recipe_of(own, key)) is None:
                continue
            theirs = self._record(wanted, self._words(wanted))
            other = {k: v for k, v in vars(own.data).items() if k != "views" and v != getattr(theirs.data, k)}
            found[key] = self.add(wanted, cell.seed, other)
        return found

    def _words(self, recipe: str) -> tuple[str, ...]:
        """The overrides for a recipe: one of no epochs stays one."""
        try:
            trains = parse.read(recipe).get("epochs") != 0
        except TailwiseError:
            trains = True  # the cell says what is wrong
        return self.words if trains else tuple(word for word in self.words if not word.startswith("--epochs="))

    def _record(self, recipe: str, words: tuple[str, ...]) -> Namespace:
        """The record of a recipe whose needs can be filled; read once for all seeds, since reading takes a while."""
        if (recipe, *words) not in self.records:
            record = parse.resolve(parse.read(recipe), words)
            needs.check(record)
            self.records[recipe, *words] = record
        return self.records[recipe, *words]


def _plain(record: Namespace) -> dict[str, Any]:
    tree = record.as_dict()
    source = Path(tree["data"]["source"]).expanduser()
    tree["data"]["source"] = str(source.resolve()) if source.exists() else tree["data"]["source"]
    return {key: value for key, value in tree.items() if key not in ("about", "needs", "engine")}


def _difference(asked: Any, there: Any, at: str = "") -> str | None:
    """The first difference, where what was left open for the run to settle agrees with anything."""
    if at in SETTLED and asked in (None, "auto", (), []):
        return None
    if isinstance(asked, dict) and isinstance(there, dict):
        for key in [*asked, *(key for key in there if key not in asked)]:
            if found := _difference(asked.get(key), there.get(key), f"{at}.{key}" if at else key):
                return found
        return None
    same = list(asked) == list(there) if isinstance(asked, list | tuple) and isinstance(there, list | tuple) else asked == there
    return None if same else f"{at} is {there} there, {asked} is asked"
