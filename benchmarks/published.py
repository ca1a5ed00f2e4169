"""The published schedules on CIFAR-10-LT, several runs at a time on one GPU, most telling first.

python benchmarks/published.py DATA OUT [--jobs 6] [--minutes 9] [--seeds 3]

DATA is a CIFAR-10 parquet folder (or ``cifar10``). OUT receives what `tailwise bench` writes, and ``published.json`` with
every result, the hardware, versions, command and date. Small networks leave a GPU idle between kernels, so that several
runs side by side cost little more than one. What is unfinished when the time is up keeps its last checkpoint, and goes
on when the same command is given again.
"""

import argparse
import os
import sys
from pathlib import Path

from tailwise.train.bench import bench
from tailwise.train.run import surroundings, write_json

IMBALANCE_100 = ("la", "gml", "bcl", "proco", "rcl", "ldam_drw", "elm", "paco", "ce", "vs")
ABLATIONS = ("gml_momentum", "gml_shared_queue", "gml_no_prior", "gml_k1024", "gml_k16384", "gml_fixed_temperature")


def main() -> None:
    """Run the grid for as long as the time allows and write what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=6, help="runs side by side")
    parser.add_argument("--minutes", type=float, default=9, help="when to stop")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    recipes = [f"cifar10_lt/{name}" for name in IMBALANCE_100] + [f"cifar10_lt_ablations/{name}" for name in ABLATIONS]
    workers = max(1, (os.cpu_count() or 2) // options.jobs - 1)
    overrides = [f"--data.source={options.data}", f"--engine.workers={workers}", "--engine.threads=1"]
    rows = bench(
        recipes,
        seeds=range(options.seeds),
        out=options.out,
        jobs=options.jobs,
        minutes=options.minutes,
        overrides=overrides,
    )
    results = [result for row in rows for result in row.results]
    unfinished = [row.name for row in rows if len(row.results) < options.seeds]
    about = {"command": " ".join(sys.argv), **surroundings(), "unfinished": unfinished}
    write_json(options.out / "published.json", {**about, "results": results})
    print((options.out / "table.md").read_text())
    print(f"{len(results)} runs finished; incomplete rows: {', '.join(unfinished) or 'none'}; {options.out / 'published.json'}")


if __name__ == "__main__":
    main()
