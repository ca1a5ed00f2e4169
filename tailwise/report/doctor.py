"""What the doctor says of a run, on a terminal and on its page."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tailwise.doctor import DETECTORS

WIDTH = 100

Diagnosis = Sequence[Mapping[str, Any]]
"""Checks as plain values: ``Check._asdict()``, and the ``epoch`` in which a finding first showed."""


def text(called: str, diagnosis: Diagnosis) -> str:
    """All of it in lines of at most 100 characters: findings first, then what is not there, then what was not measured."""
    found, sound = _found(diagnosis), [check for check in diagnosis if check["severity"] == "none"]
    several = "finding" if len(found) == 1 else "findings"
    lines = [f"{called}: {len(found)} {several}, {len(diagnosis)} of {len(DETECTORS)} known failures looked for"]
    for check in found:
        lines += ["", f"{check['severity']}: {check['name']}{_since(check)}"]
        lines += _wrapped((check["measured"], check["what"], check["advice"]))
    if sound:
        lines += ["", "looked for, and not there"]
        lines += _wrapped(f"{check['name']}: {check['measured']}" for check in sound)
    if lacking := unmeasured(diagnosis):
        lines += ["", textwrap.fill(f"not measured: {', '.join(lacking)}", WIDTH, subsequent_indent="  ")]
    return "\n".join(lines)


def section(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """For ``templates/doctor.html``; None for a result of before the doctor."""
    if (diagnosis := result.get("doctor")) is None:
        return None
    found = _found(diagnosis)
    return {
        "found": [f"{c['name'].capitalize()}{_since(c)}: {c['measured']}. {c['what']} {c['advice']}" for c in found],
        "sound": [(check["name"], check["measured"]) for check in diagnosis if check["severity"] == "none"],
        "unmeasured": unmeasured(diagnosis),
    }


def unmeasured(diagnosis: Diagnosis) -> list[str]:
    """The failures that a run has no figures for."""
    known = {check["name"] for check in diagnosis}
    return [name for name in DETECTORS if name not in known]


def _found(diagnosis: Diagnosis) -> list[Mapping[str, Any]]:
    return [check for check in diagnosis if check["severity"] != "none"]


def _since(check: Mapping[str, Any]) -> str:
    return f" (from epoch {check['epoch']} on)" if check.get("epoch") else ""


def _wrapped(sentences: Iterable[str]) -> list[str]:
    shape = textwrap.TextWrapper(WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    return [shape.fill(one) for one in sentences]
