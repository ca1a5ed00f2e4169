"""Every table of the benchmarks, printed as Markdown and written to ``benchmarks/results/MACHINE.json``.

python -m benchmarks.run [--device cpu] [--only kernels growth ...] [--out benchmarks/results]

Each part checks its results against a slow reference before it times anything. How cost grows is drawn beside the JSON.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import augment, growth, judging, kernels, queues, startup
from benchmarks.measure import Row, slope
from benchmarks.plots import draw
from tailwise.train.run import surroundings, write_json

PARTS: dict[str, Callable[[str], dict[str, list[Row]]]] = {
    "kernels": kernels.measure,
    "growth": growth.measure,
    "queues": queues.measure,
    "augment": augment.measure,
    "judging": judging.measure,
    "startup": startup.measure,
}


def main() -> None:
    """Run the parts one after the other; a part that fails is reported and does not stop the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    record: dict[str, Any] = {**surroundings(), "command": " ".join(["python -m benchmarks.run", *sys.argv[1:]])}
    tables: dict[str, list[Row]] = {}
    failed = []
    for part in options.only:
        start = time.perf_counter()
        try:
            measured = PARTS[part](options.device)
        except Exception as error:
            failed.append(f"{part}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            continue
        for title, rows in measured.items():
            print(f"\n### {title}\n\n{markdown(rows)}", flush=True)
        print(f"\n({part}: {time.perf_counter() - start:.0f} s)", flush=True)
        tables |= measured
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{machine(record['hardware'])}.json"
    grown = {title: rows for title, rows in tables.items() if "x" in rows[0]}
    write_json(path, {**record, "tables": tables, "slopes": {title: round(slope(rows), 2) for title, rows in grown.items()}})
    if grown:
        draw(grown, path.with_suffix(".svg"))
    print(f"\nwritten: {path}" + (f", {path.with_suffix('.svg')}" if grown else ""))
    if failed:
        sys.exit("failed: " + "; ".join(failed))


def machine(hardware: dict[str, Any]) -> str:
    """A file name for the hardware: the GPU's name, else the processor's and its number of cores."""
    name = hardware["gpus"][0] if hardware["gpus"] else f"{hardware['cpu']} {hardware['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def markdown(rows: list[Row]) -> str:
    """A table of rows, whose columns are the keys of all of them; numbers to four digits."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *[[_cell(row.get(column, "")) for column in columns] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
