"""What the doctor says of a run's folder, and since when."""

import json
from collections.abc import Mapping
from typing import Any

from tailwise.doctor import DETECTORS, Check, examine, signals
from tailwise.train.run import FINDINGS, RECIPE, RESULT, Run
from tailwise.train.written import is_number, load
from tailwise.types import TailwiseError


def diagnosis(run: Run, result: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Every check of a run that has figures for it, as plain values, found or not.

    The ``result`` is that of the run, if it has been judged. ``epoch`` is when the failure first showed while the run
    trained, None where it did not. Raises `TailwiseError` for a file of the run that is damaged.
    """
    early, log, epochs = findings(run), run.metrics(), _epochs(run)
    if result is None and run.finished:
        result = run.result
        try:
            checks = examine(signals(log, epochs, result))
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise run.damaged(RESULT, f"not a result ({type(error).__name__}: {error})") from error
    else:
        checks = examine(signals(log, epochs, result))
    return [check._asdict() | {"epoch": early.get(check.name, {}).get("epoch")} for check in checks]


def findings(run: Run) -> dict[str, dict[str, Any]]:
    """What was found while a run trained, by name, with the ``epoch`` in which it first appeared.

    Whatever else the file says is left out: it is a note for people, and the log has the figures.
    """
    path = run.path / FINDINGS
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {n: {key: found[n][key] for key in ("epoch", *Check._fields)} for n in DETECTORS if _is_finding(found.get(n))}


def _is_finding(told: Any) -> bool:
    """Whether it is what `tailwise.train.watch.Watch` writes of one."""
    if not isinstance(told, dict) or not isinstance(told.get("epoch"), int):
        return False
    return all(isinstance(text := told.get(key), str) and text.isprintable() for key in Check._fields)


def _epochs(run: Run) -> float:
    """How many the recipe asks for."""
    path = run.path / RECIPE
    epochs = load(path, str(path)).get("epochs")
    if not is_number(epochs):
        raise TailwiseError(f"{path}: damaged (no number of epochs); write the epochs: that the run was begun with into it")
    return float(epochs)
