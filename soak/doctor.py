"""Each detector of the doctor on a run that provokes its failure, on one that does not, and on runs of shipped recipes.

python -m soak.doctor [--out FOLDER] [--healthy ce la …] [--seeds 1]
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from soak.record import Part
from tailwise.doctor import DETECTORS, convergence, leak, overfitting, prior, queue, tail, temperature
from tailwise.report import evidence
from tailwise.train import fit
from tailwise.train.diagnosis import diagnosis
from tailwise.train.run import Run

Options = Mapping[str, Any]
Checks = Mapping[str, Mapping[str, Any]]
"""By the failure that they look for."""

HEALTHY = ("ce", "la", "bcl", "gml", "ldam_drw", "proco", "infonce", "elm")
"""Recipes of ``digits_lt``; that of GML trains its teacher first."""

QUIET: Options = {"engine.progress": "none", "engine.accelerator": "cpu", "engine.loggers": "csv", "engine.check_every": 5}
SMALL: Options = {**QUIET, "model.backbone": "resnet8", "batch_size": 64, "data.validation": 0.0}
SLOTS = "objective.queue_size"
FEW: Options = {**SMALL, "data.largest": 60, "data.imbalance_factor": 10}


class Case(NamedTuple):
    """A failure, how it is provoked, and what is changed in the run that must not show it."""

    failure: str
    provoked: Options  # with a source or a recipe
    control: Options  # what replaces some of it
    how: str  # both in words


def cases(data: Path) -> list[Case]:
    """One for every detector, two where it has two signals; ``data`` holds what `write_data` made."""
    noisy = {**SMALL, "data.source": str(data / "noisy"), "data.imbalance_factor": 100, "epochs": 15, "batch_size": 16}
    plain = {**SMALL, "objective": "CrossEntropy", "epochs": 25, "optim.lr": 0.05, "optim.weight_decay": 0.0}
    noise = {**plain, "data.views": "[plain]", "data.source": str(data / "noise")}
    keys = {**FEW, "recipe": "digits_lt/infonce", "epochs": 30}
    alone = {**FEW, "data.source": "digits", "objective": "GML", SLOTS: 512, "epochs": 12, "optim.lr": 0.1}
    copied = {**SMALL, "objective": "CrossEntropy", "epochs": 1, "data.source": str(data / "copied")}
    digits = {**SMALL, "recipe": "digits_lt/ce", "epochs": 20}
    return [
        Case(
            tail.NAME,
            {**noisy, "objective": "CrossEntropy"},
            {"data.source": "digits"},
            "cross-entropy, imbalance factor 100, digits in noise / without the noise",
        ),
        Case(
            overfitting.NAME,
            noise,
            {"data.source": str(data / "clean")},
            "600 digits in much noise, not augmented, no decay / without the noise",
        ),
        Case(queue.NAME, {**keys, SLOTS: 40_000}, {SLOTS: 512}, "InfoNCE with 40,000 slots for 250 images, unfilled / 512"),
        Case(queue.NAME, {**keys, SLOTS: 6_500}, {SLOTS: 512}, "InfoNCE with 6,500 slots, stale / 512"),
        Case(
            temperature.NAME,
            {**alone, "objective.temperature_weight": 300.0},
            {"objective.temperature_weight": 1.0},
            "GML whose temperature has the weight 300 / 1",
        ),
        Case(
            prior.NAME,
            {**noisy, "objective": "LogitAdjusted", "sampler": "ClassBalanced"},
            {"sampler": "Shuffled"},
            "LogitAdjusted with sampler ClassBalanced on noisy digits / Shuffled",
        ),
        Case(
            leak.NAME,
            copied,
            {"data.source": str(data / "apart")},
            "a tenth of the test images again in train, compressed / none",
        ),
        Case(
            convergence.NAME,
            {**digits, "optim.lr": 0.0005},
            {"optim.lr": 0.1},
            "digits_lt/ce with a learning rate of 0.0005 / 0.1",
        ),
    ]


def write_data(folder: Path) -> None:
    """Digits as folders of images: ``noisy``, ``noise`` and ``clean`` (8 pixels a side), ``copied`` and ``apart`` (32)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels, rng = digits.images / 16.0, digits.target, np.random.default_rng(0)
    order = rng.permutation(len(labels))
    test = np.concatenate([order[labels[order] == c][:40] for c in range(10)])
    train = np.setdiff1d(order, test)
    some = train[:600]
    for name, deviation, chosen in (("noisy", 0.35, train), ("noise", 0.9, some), ("clean", 0.0, some)):
        write(folder / name, (images + deviation * rng.standard_normal(images.shape) + 0.5) / 2, labels, chosen, test)
    large = images.repeat(4, 1).repeat(4, 2)
    large = large * 0.8 + 0.1 + 0.1 * rng.standard_normal(large.shape)
    for name in ("copied", "apart"):
        write(folder / name, large, labels, some, test)
    for i in test[::10]:
        save(large[i], folder / "copied" / "train" / str(labels[i]) / f"again-{i}.jpg")


def write(
    folder: Path,
    images: NDArray[np.float64],  # (N, H, W)
    labels: NDArray[np.int64],  # (N,)
    train: NDArray[np.int64],  # their places
    test: NDArray[np.int64],
) -> None:
    """A source of two splits."""
    for split, rows in (("train", train), ("test", test)):
        for i in rows:
            save(images[i], folder / split / str(labels[i]) / f"{i}.png")


def save(grey: NDArray[np.float64], path: Path) -> None:
    """An image of brightness in [0, 1]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * grey.clip(0, 1)).round().astype(np.uint8)).save(path)


class Runs:
    """Runs in a folder by their options; one that is there and finished is not trained again, and counts as ``kept``."""

    def __init__(self, out: Path) -> None:
        self.out, self.new, self.kept = out, set[Path](), set[Path]()

    def trained(self, options: Options) -> Run:
        """The run with these options."""
        stated = json.dumps({key: str(value).replace(str(self.out), "") for key, value in options.items()}, sort_keys=True)
        folder = self.out / hashlib.sha256(stated.encode()).hexdigest()[:12]
        if (folder / "result.json").is_file():
            self.kept |= {folder} - self.new
            return Run(folder)
        self.new.add(folder)
        rest = {key: value for key, value in options.items() if key != "recipe"}
        return fit(recipe=options.get("recipe"), out=folder, overwrite=True, overrides=rest)

    def said(self) -> str:
        """A remark on the time that a page gives; empty where all of them were trained in it."""
        of = f"{len(self.kept)} of {len(self.kept) + len(self.new)} runs were there from earlier commands"
        return f"{of}, so the time given here is not that of training them" if self.kept else ""


def found(run: Run) -> dict[str, dict[str, Any]]:
    """The checks of a run."""
    return {check["name"]: check for check in diagnosis(run)}


def is_found(check: Mapping[str, Any] | None) -> bool:
    """Whether the failure is there."""
    return check is not None and check["severity"] != "none"


def said(check: Mapping[str, Any] | None) -> str:
    """A check in a cell."""
    if check is None:
        return "not measured"
    since = f" from epoch {check['epoch']} on" if check["epoch"] and is_found(check) else ""
    return f"{check['severity'] if is_found(check) else 'not found'}{since}: {check['measured']}"


def provoke(runs: Runs) -> list[dict[str, object]]:
    """A row for every case; ``kept`` where the failure is in the one run and not in the other."""
    rows: list[dict[str, object]] = []
    for case in cases(runs.out / "data"):
        sick, well = runs.trained(case.provoked), runs.trained({**case.provoked, **case.control})
        ill, sound = found(sick).get(case.failure), found(well).get(case.failure)
        kept = is_found(ill) and not is_found(sound)
        cells = {"failure": case.failure, "provoked / control": case.how, "provoked": said(ill), "control": said(sound)}
        rows.append({**cells, "kept": kept})
        print("ok  " if kept else "MISS", *cells.values(), sep=" | ", flush=True)
    return rows


def healthy_runs(runs: Runs, recipes: Sequence[str], seeds: int) -> dict[str, Checks]:
    """The checks of shipped recipes, by recipe and seed; GML's teacher is a run of its own."""
    checks: dict[str, Checks] = {}
    for recipe in recipes:
        for seed in range(seeds):
            run = runs.trained({**QUIET, "recipe": f"digits_lt/{recipe}", "seed": seed})
            checks[f"{recipe}, seed {seed}"] = found(run)
            for needed in sorted((run.path / "needs").glob("*")):
                checks[f"{needed.name} of {recipe}, seed {seed}"] = found(Run(needed))
            print(f"{recipe}, seed {seed}:", *(said(c) for c in found(run).values() if is_found(c)), flush=True)
    return checks


def main() -> None:
    """Train, look, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keep the runs there, and use those that are there")
    parser.add_argument("--healthy", nargs="*", default=list(HEALTHY), help="recipes of digits_lt that must show nothing")
    parser.add_argument("--seeds", type=int, default=1, help="of each healthy recipe")
    given = parser.parse_args()
    torch.set_num_threads(1)
    evidence.MAPPED = 60  # the maps of features on the runs' pages would take longer than the runs
    part = Part("doctor", "The doctor")
    with tempfile.TemporaryDirectory() as scratch:
        runs = Runs(given.out or Path(scratch))
        if not (runs.out / "data").is_dir():
            write_data(runs.out / "data")
        rows, healthy = provoke(runs), healthy_runs(runs, given.healthy, given.seeds)
    hits = sum(bool(row.pop("kept")) for row in rows)
    part.add(
        "A provoked failure is named, and not in the run that differs in its cause alone",
        f"{len(rows)} of {len(rows)}, over {len(DETECTORS)} failures",
        f"{hits} of {len(rows)}",
        hits == len(rows),
        "; ".join(filter(None, ["" if hits == len(rows) else "the table shows which", runs.said()])),
    )
    alarms = {run: [c for c in checks.values() if is_found(c)] for run, checks in healthy.items()}
    wrong = [f"{run}: {check['name']}, {check['measured']}" for run, of in alarms.items() for check in of]
    looks, seeds = sum(map(len, healthy.values())), f"{given.seeds} seed{'s' if given.seeds > 1 else ''}"
    teachers = len(healthy) - len(given.healthy) * given.seeds
    part.add(
        "Runs of shipped recipes on the digits raise no alarm",
        f"0 of {len(healthy)} runs: {len(given.healthy)} recipes, {seeds} each, and {teachers} of their teachers",
        f"{sum(map(bool, alarms.values()))} of {len(healthy)} runs ({len(wrong)} of {looks} checks)",
        not wrong,
        "; ".join(wrong),
    )
    part.table("Provoked, and the run that must not show it", rows)
    part.table("False alarms in healthy runs", [_alarms(name, healthy) for name in DETECTORS])
    part.write()


def _alarms(name: str, healthy: Mapping[str, Checks]) -> dict[str, object]:
    of = [checks[name] for checks in healthy.values() if name in checks]
    return {"failure": name, "measured in": len(of), "alarms": sum(map(is_found, of))}


if __name__ == "__main__":
    main()
