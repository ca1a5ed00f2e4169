"""What the doctor says of a run's folder, and since when."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from tailwise.doctor import examine, signals
from tailwise.train.run import FINDINGS, Run


def diagnosis(run: Run, result: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Every check of a run that has figures for it, as plain values, found or not.

    The ``result`` is that of the run, if it has been judged. ``epoch`` is when the failure first showed while the run
    trained, None where it did not.
    """
    if result is None and run.finished:
        result = run.result
    early = findings(run)
    checks = examine(signals(run.metrics(), yaml.safe_load(run.recipe_text)["epochs"], result))
    return [check._asdict() | {"epoch": early.get(check.name, {}).get("epoch")} for check in checks]


def findings(run: Run) -> dict[str, dict[str, Any]]:
    """What was found while a run trained, by name, with the ``epoch`` in which it first appeared."""
    path = run.path / FINDINGS
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:  # it is a note for people: the log has the figures
        return {}
    return found if isinstance(found, dict) else {}
