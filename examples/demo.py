"""Cross-entropy, logit adjustment and GML (with its teacher) on long-tailed handwritten digits, three seeds each.

python examples/demo.py [FOLDER]     writes runs below FOLDER (default runs/demo) and prints one table
"""

import sys
import time
from pathlib import Path

import tailwise
from tailwise.report.text import compare

METHODS = {"cross-entropy": "digits_lt/ce", "logit adjustment": "digits_lt/la", "GML": "digits_lt/gml"}
SEEDS = range(3)


def main(folder: Path) -> None:
    """Train nine students and three teachers, then compare."""
    started, results = time.perf_counter(), {}
    quiet = {"engine.progress": "none"}
    for method, recipe in METHODS.items():
        for seed in SEEDS:
            run = tailwise.fit(recipe=recipe, seed=seed, out=folder / recipe / str(seed), overwrite=True, overrides=quiet)
            results.setdefault(method, []).append(run.result)
            print(f"{method}, seed {seed}: {run.path}", flush=True)
    print(f"\n{compare(results)}\nrun folders: {folder}/digits_lt/, {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
