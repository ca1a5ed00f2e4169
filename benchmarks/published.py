"""The published 200-epoch recipes on CIFAR-10-LT, several runs at a time on one GPU, most telling first.

python benchmarks/published.py DATA OUT [--jobs 6] [--minutes 9] [--seeds 3]

DATA is a CIFAR-10 parquet folder (or ``cifar10``), OUT receives one folder per run and ``published.json`` with every
result, the hardware, versions, commands and date. Small networks leave a GPU idle between kernels, so that several runs
side by side cost little more than one. What is unfinished when the time is up is stopped, keeps its last checkpoint,
and goes on when the same command is given again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tailwise.train.run import CHECKPOINT, RESULT, surroundings, write_json

ORDER = ("la", "gml", "bcl", "rcl", "elm", "ce")


def command(data: str, folder: Path, recipe: str, seed: int, workers: int) -> list[str]:
    """The words that start or continue one run."""
    words = [sys.executable, "-m", "tailwise.cli", "fit"]
    if (folder / CHECKPOINT).is_file():
        return [*words, "--resume", str(folder)]
    options = [f"--engine.workers={workers}", "--engine.threads=1", "--engine.progress=lines"]
    wanted = ["--recipe", f"cifar10_lt/{recipe}", "--seed", str(seed), "--out", str(folder), "--overwrite"]
    return [*words, data, *wanted, *options]


def main() -> None:
    """Run the grid for as long as the time allows and write what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=6, help="runs side by side")
    parser.add_argument("--minutes", type=float, default=9, help="when to stop")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    waiting = [(recipe, seed) for seed in range(options.seeds) for recipe in ORDER]
    folders = {(recipe, seed): options.out / f"{recipe}-{seed}" for recipe, seed in waiting}
    waiting = [cell for cell in waiting if not (folders[cell] / RESULT).is_file()]
    workers = max(1, (os.cpu_count() or 2) // options.jobs - 1)
    running: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
    while (waiting or running) and time.monotonic() < end:
        while waiting and len(running) < options.jobs:
            cell = waiting.pop(0)
            with (options.out / f"{cell[0]}-{cell[1]}.log").open("ab") as log:
                words = command(options.data, folders[cell], *cell, workers)
                running[cell] = subprocess.Popen(words, stdout=log, stderr=log)
        time.sleep(1)
        running = {cell: process for cell, process in running.items() if process.poll() is None}
    for process in running.values():
        process.terminate()
    done = {cell: folder for cell, folder in folders.items() if (folder / RESULT).is_file()}
    results = [json.loads((folder / RESULT).read_text()) for folder in done.values()]
    unfinished = [folder.name for cell, folder in folders.items() if cell not in done]
    about = {"command": " ".join(sys.argv), **surroundings(), "unfinished": unfinished}
    write_json(options.out / "published.json", {**about, "results": results})
    for result in results:
        balanced, seconds = 100 * result["balanced"], result["seconds"]
        print(f"{result['recipe']:20} seed {result['seed']}  balanced {balanced:.2f}  {seconds:.0f} s")
    print(f"{len(results)} finished, unfinished: {unfinished or 'none'}; {options.out / 'published.json'}")


if __name__ == "__main__":
    main()
