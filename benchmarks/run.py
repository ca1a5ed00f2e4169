"""Every table of the benchmarks, printed as Markdown and written to ``benchmarks/results/MACHINE.json``.

python -m benchmarks.run [--device cpu] [--only kernels growth ...] [--out DIR]

Each part checks its results against a slow reference before it times anything. How cost grows is drawn beside the JSON.
With ``--only``, files are written where ``--out`` says, or not at all.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import augment, gpu_kernels, growth, judging, kernels, pixels, queues, startup, tables, targets
from benchmarks.measure import Row
from benchmarks.plots import draw
from benchmarks.readme import machine
from tailwise.train.run import surroundings, write_json

RESULTS = Path(__file__).parent / "results"
PARTS: dict[str, Callable[[str], dict[str, list[Row]]]] = {
    "kernels": kernels.measure,
    "gpu_kernels": gpu_kernels.measure,
    "growth": growth.measure,
    "queues": queues.measure,
    "augment": augment.measure,
    "pixels": pixels.measure,
    "judging": judging.measure,
    "startup": startup.measure,
}


def main() -> None:
    """Run the parts one after the other; a part that fails is reported and does not stop the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is a GPU")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, help="default: benchmarks/results")
    options = parser.parse_args()
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # clocks and file name are then the CPU's as well
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no GPU here")
    record: dict[str, Any] = {**surroundings(), "command": " ".join(["python -m benchmarks.run", *sys.argv[1:]])}
    measured, failed = measure(options.only or list(PARTS), device)
    verdicts = [row for row in targets.verdicts(measured) if not options.only or row["verdict"] != "untested"]
    print(titled("Growth", tables.growth(measured)) + titled("Targets", verdicts))
    out = options.out or (None if options.only else RESULTS)
    if out:
        name = re.sub(r"[^a-z0-9]+", "-", machine(record["hardware"]).lower()).strip("-")
        write(out / f"{name}.json", record, measured)
    if failed:
        sys.exit("failed: " + "; ".join(failed))


def measure(parts: list[str], device: str) -> tuple[dict[str, list[Row]], list[str]]:
    """The tables of all parts, printed as they are known, and what went wrong."""
    measured: dict[str, list[Row]] = {}
    spent: dict[str, float] = {}
    failed = []
    for part in parts:
        start = time.perf_counter()
        try:
            found = PARTS[part](device)
        except Exception as error:
            failed.append(f"{part}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            continue
        spent[part] = time.perf_counter() - start
        for title, rows in found.items():
            print(titled(title, rows), flush=True)
            failed += [f"{part}: {row}" for row in rows if row.get("wrong") or row.get("failed")]
        measured |= found
    if spent.keys() == PARTS.keys():
        spent["all"] = sum(spent.values())
    took = [{"part": part, "seconds": round(value, 1)} for part, value in spent.items()]
    print(titled(targets.PARTS, took), flush=True)
    return measured | {targets.PARTS: took}, failed


def write(path: Path, record: dict[str, Any], measured: dict[str, list[Row]]) -> None:
    """The JSON, and beside it the picture of what grows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grown = tables.lines(measured)
    slopes = {title: tables.slopes(rows) for title, rows in grown.items()}
    write_json(path, {**record, "tables": measured, "slopes": slopes})
    if grown:
        draw(grown, path.with_suffix(".svg"))
    print(f"written: {path}" + (f", {path.with_suffix('.svg')}" if grown else ""))


def titled(title: str, rows: list[Row]) -> str:
    """A table under its title; nothing for a table without rows."""
    return f"\n### {title}\n\n{tables.markdown(rows)}\n" if rows else ""


if __name__ == "__main__":
    main()
