"""What it takes to repeat a run, as text: command, seed, data, versions, hardware and the resolved recipe."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailwise.report.text import listed


def repeat(folder: Path, manifest: Mapping[str, Any], recipe: str) -> str:
    """The record of a run from its ``manifest.json`` and ``recipe.yaml``."""
    data, hardware = manifest["data"], manifest["hardware"]
    factor = data["imbalance_factor"]
    nominal = "" if factor["nominal"] is None else f", asked for {factor['nominal']:g}"
    facts = {
        "command": _pasteable(manifest["command"]),
        "again": shlex.join(["tailwise", "fit", "--recipe", str(folder / "recipe.yaml"), "--out", "NEW"]),
        "date": manifest["date"],
        "recipe": manifest["recipe"],
        "objective": manifest["objective"],
        "seed": str(manifest["seed"]),
        "selection": manifest["selection"],
        "data": f"{data['source']}, {len(data['classes'])} classes, "
        + ", ".join(f"{split} {n}" for split, n in data["samples"].items()),
        "data sha256": data["sha256"],
        "imbalance": f"{factor['realised']:.6g}{nominal}",
        "skipped": f"{data['skipped']} bad images",
        "versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
        "hardware": f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['threads']} threads"
        + "".join(f", {gpu}" for gpu in hardware["gpus"]),
    }
    return "\n".join([*listed(facts), "", "recipe.yaml", "-----------", recipe])


def _pasteable(command: str) -> str:
    """A command as a shell takes it; that of an older run was kept without quotes, which zsh refuses around [csv,mlflow]."""
    return command if "'" in command else shlex.join(command.split())
