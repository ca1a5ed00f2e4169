"""What three papers claim about features, measured: runs over seeds, each studied, and each claim as a paired difference.

python -m benchmarks.claims OUT NAME=DATA [NAME=DATA ...] [--seeds 3] [--jobs 1] [--minutes 9] [any key of a recipe]

Trains the recipes of ``claims/`` on every data set with `tailwise bench` (what is done is left, what was cut off goes on),
writes ``study.json`` into every run, and all of it to ``OUT/NAME.json``. ``python -m benchmarks.claims_page`` makes
docs/claims.md of those in docs/results/claims. On a GPU, the 200 epochs of the papers:

python -m benchmarks.claims OUT cifar10=DATA --jobs 6 --model.backbone resnet32 --epochs 200 \\
    --data.views [cifar_autoaugment,simaugment]
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from tailwise.report.geometry import STUDY, digest
from tailwise.train.bench import bench
from tailwise.train.run import Run, surroundings, write_json
from tailwise.train.study import write_study

ARMS = {
    "la": "LA",
    "la_cosine": "LA, cosine",
    "elm": "ELM",
    "gml": "GML",
    "bcl": "BCL",
    "rcl": "RCL",
    "bcl_scaled": "BCL at τ/γ²",
    "supcon": "SupCon",
    "infonce": "InfoNCE",
}
"""Recipes of ``claims/`` and what they are called."""


class Claim(NamedTuple):
    """That a figure of one arm is above (+1) or below (−1) that of another, in a group of classes."""

    says: str
    arm: str
    control: str
    part: str  # of a study: test, train or between
    figure: str
    group: str  # tail: the rarest group with classes in it; or `BEYOND`
    sign: int


BEYOND = "tail − many"
"""A figure of the tail less that of the many: where a claim says "above all", its difference is that of the differences."""


def _over_groups(says: str, arm: str, control: str, part: str, figure: str, sign: int) -> list[Claim]:
    groups = ("all", "many", "tail", *([BEYOND] if "above all" in says else []))
    return [Claim(says, arm, control, part, figure, group, sign) for group in groups]


INFORMATION = "GML's features hold more label information, above all of the tail"
MIXTURE = "under GML the classes are lumps of Gaussians rather than one"
CLAIMS: tuple[Claim, ...] = (
    *_over_groups(INFORMATION, "gml", "infonce", "test", "label_information", +1),
    *_over_groups(INFORMATION, "gml", "supcon", "test", "label_information", +1),
    *_over_groups(INFORMATION, "gml", "la_cosine", "test", "label_information", +1),
    Claim("InfoNCE holds more of the image and less of the label", "infonce", "gml", "test", "instance_information", "all", +1),
    *_over_groups(MIXTURE, "gml", "la_cosine", "test", "henze_zirkler", +1),
    *_over_groups(MIXTURE, "gml", "la_cosine", "test", "kernel_gain", +1),
    *_over_groups("GML recalls more of the tail", "gml", "la_cosine", "test", "recall", +1),
    *_over_groups("ELM's tail embeddings are tighter", "elm", "la", "test", "spread", -1),
    *_over_groups("ELM narrows the gap between training and test", "elm", "la", "between", "gap", -1),
    *_over_groups("RCL shares the space more evenly", "rcl", "bcl", "test", "balancedness", -1),
    *_over_groups("RCL's classes are more compact", "rcl", "bcl", "test", "spread", -1),
    *_over_groups("RCL's margins are larger, above all in the tail", "rcl", "bcl", "test", "margin", +1),
    *_over_groups("beyond its scalar, RCL shares the space more evenly", "rcl", "bcl_scaled", "test", "balancedness", -1),
    *_over_groups("beyond its scalar, RCL's classes are more compact", "rcl", "bcl_scaled", "test", "spread", -1),
    *_over_groups("beyond its scalar, RCL's margins are larger", "rcl", "bcl_scaled", "test", "margin", +1),
)
"""The papers' own statements, as they were fixed before any figure was seen; `BEYOND` came later, to test all that they say."""
CRITICAL = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t at 95 %, two-sided, for so many seeds."""


KEPT = ("balanced", "many", "medium", "few", "seconds")
"""Of a run's result."""


def value(found: Mapping[str, Any], part: str, figure: str, group: str) -> float | None:
    """A figure of a study; that of the rarest group for which it is defined where ``group`` is tail."""
    if group == BEYOND:
        tail_value, many = (value(found, part, figure, one) for one in ("tail", "many"))
        return None if tail_value is None or many is None else tail_value - many
    groups = found[part][figure]
    tail = next((name for name in ("few", "medium", "many") if groups.get(name)), "many")
    interval = groups.get(tail if group == "tail" else group)
    return None if interval is None else interval["value"]


def verdict(differences: Sequence[float], sign: int) -> str:
    """Of differences by seed: held or reversed where their 95 % interval is on one side of 0, else open."""
    if len(differences) < 2:
        return "open: one seed"
    middle, half = mean(differences), CRITICAL[len(differences)] * stdev(differences) / len(differences) ** 0.5
    if abs(middle) <= half:
        return "open"
    return "held" if middle * sign > 0 else "**reversed**"


def compare(claim: Claim, studies: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, Any] | None:
    """A claim's row from studies by arm and seed; None where the runs of an arm are missing."""
    pairs = []
    for seed in sorted(studies.get(claim.arm, {}).keys() & studies.get(claim.control, {}).keys()):
        both = [value(studies[arm][seed], claim.part, claim.figure, claim.group) for arm in (claim.arm, claim.control)]
        if None not in both:
            pairs.append(both)
    if not pairs:
        return None
    ours, theirs = zip(*pairs, strict=True)
    differences = [a - b for a, b in pairs]
    spread = stdev(differences) if len(differences) > 1 else None
    return {
        "ours": mean(ours),
        "theirs": mean(theirs),
        "difference": mean(differences),
        "sd": spread,
        "seeds": len(differences),
        "verdict": verdict(differences, claim.sign),
    }


def main() -> None:
    """Train what is missing within the time, study what is finished, write what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("data", nargs="+", metavar="NAME=DATA")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--minutes", type=float, default=inf, help="when to stop training; the same command goes on")
    parser.add_argument("--samples", type=int, default=10_000, help="images of each split that are studied, at most")
    options, overrides = parser.parse_known_args()
    for name, data in (word.split("=", 1) for word in options.data):
        recipes = [f"claims/{arm}" for arm in ARMS]
        bench(
            recipes,
            seeds=range(options.seeds),
            out=options.out / name,
            jobs=options.jobs,
            minutes=options.minutes,
            overrides=[f"--data.source={data}", *overrides],
        )
        write_json(options.out / f"{name}.json", collected(options.out / name, options.seeds, options.samples, overrides))


def collected(folder: Path, seeds: int, samples: int, overrides: Sequence[str]) -> dict[str, Any]:
    """The studies of all finished runs by arm and seed, made where they are missing, with what it takes to repeat them."""
    studies: dict[str, dict[int, Any]] = {}
    results: dict[str, dict[int, Any]] = {}
    about: dict[str, Any] = {}
    for arm in ARMS:
        for seed in range(seeds):
            place = folder / "claims" / arm / str(seed)
            if not (place / "result.json").is_file():
                continue
            run = Run(place)
            studies.setdefault(arm, {})[seed] = claimed(studied(run, samples))
            results.setdefault(arm, {})[seed] = {key: run.result[key] for key in KEPT}
            data = run.manifest["data"]
            about = {**{key: data[key] for key in ("sha256", "train_counts", "samples")}, "epochs": run.result["epochs"]}
    words = " ".join(overrides)
    command = f"python -m benchmarks.claims OUT {folder.name}=DATA --seeds {seeds} --samples {samples} {words}".strip()
    return {**surroundings(), "command": command, "data": about, "studies": studies, "results": results}


def claimed(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of a study, the figures that a claim speaks of."""
    kept: dict[str, dict[str, Any]] = {}
    for claim in CLAIMS:
        kept.setdefault(claim.part, {})[claim.figure] = found[claim.part][claim.figure]
    return kept


def studied(run: Run, samples: int) -> dict[str, Any]:
    """The study of a run's model that lies in its folder, else a new one."""
    if (run.path / STUDY).is_file():
        found: dict[str, Any] = json.loads((run.path / STUDY).read_text(encoding="utf-8"))
        if found["model"] == digest(run.path):
            return found
    return write_study(run, samples)


if __name__ == "__main__":
    main()
