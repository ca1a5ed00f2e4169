"""Whole runs on CIFAR-10-LT, one at a time: seconds of training, accuracy, and seconds to 80 % macro accuracy.

python -m benchmarks.whole_runs DATA OUT [--recipes cifar10_lt/la ...] [--minutes 25] [any key of a recipe]

DATA is a CIFAR-10 parquet folder, or ``cifar10``. Each recipe runs twice: as it is computed by default, and with compiled
networks and CUDA graphs (``engine.compile: graphs``); equal accuracy is what allows the second. GML's teacher is trained
first and not counted. OUT receives the runs and ``whole_runs.json``; the same command goes on where it stopped.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.tables import markdown
from tailwise.train.bench import bench
from tailwise.train.run import Run, surroundings, write_json

TARGET = 0.8
"""Macro accuracy to reach."""
WAYS: dict[str, list[str]] = {"default": [], "graphs": ["--engine.compile=graphs"]}


def main() -> None:
    """Run what the time allows, and write what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipes", nargs="+", default=["cifar10_lt/gml", "cifar10_lt/la", "cifar10_lt/bcl"])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--minutes", type=float, default=25)
    options, overrides = parser.parse_known_args()
    stop = time.monotonic() + 60 * options.minutes
    rows = []
    for recipe in options.recipes:
        for way in options.ways:
            left = (stop - time.monotonic()) / 60
            if left <= 0:
                break
            run = one(recipe, way, options.data, options.out, left, overrides)
            rows += [row(recipe, way, run)] if run else []
            write_json(options.out / "whole_runs.json", {**surroundings(), "command": " ".join(sys.argv), "rows": rows})
    print(markdown(rows) if rows else "no run was finished in time; the same command goes on")


def one(recipe: str, way: str, data: str, out: Path, minutes: float, overrides: list[str]) -> Run | None:
    """One run, in a bench of its own so that it can be cut off and goes on; None when it was not finished."""
    words = [f"--data.source={data}", "--engine.check_every=5", *WAYS[way], *overrides]
    bench([recipe], seeds=[0], out=out / way, jobs=1, minutes=minutes, overrides=words)
    folder = out / way / recipe / "0"
    return Run(folder) if (folder / "result.json").is_file() else None


def row(recipe: str, way: str, run: Run) -> dict[str, Any]:
    """A line of the table. Epochs are equally long, so the epoch that reached the target gives the seconds."""
    result = run.result
    looks = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    reached = [look["epoch"] + 1 for look in looks if look.get("test_balanced", 0) >= TARGET]
    to_target = round(result["seconds"] * reached[0] / result["epochs"], 1) if reached else "not reached"
    figures = {"seconds": result["seconds"], "balanced": round(result["balanced"], 4), f"seconds to {TARGET:.0%}": to_target}
    return {"recipe": recipe, "way": way, **figures, "epochs": result["epochs"], "peak MiB": result["peak_memory_mb"]}


if __name__ == "__main__":
    main()
