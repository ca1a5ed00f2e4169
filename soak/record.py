"""What a part of the soak found: rows of promise and figure, with what it takes to repeat them, as JSON in ``soak/results``."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tailwise.train.run import surroundings, write_json

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Promise:
    """One row of the page: what is promised, what was asked for, the figure found, and whether that keeps the promise."""

    promise: str  # a statement about tailwise, such as "A killed run resumes bit-equal"
    asked: str  # the bound, such as "60 kills, 0 differences"
    found: str  # the figure in the same words, such as "60 kills, 0 differences"
    kept: bool
    why: str = ""  # the reason, should it be missed; else what a reader must know about the figure


class Part:
    """A part of the soak while it runs: collects promises, prints each, and writes ``soak/results/NAME.json`` at the end."""

    def __init__(self, name: str, title: str) -> None:
        self.name, self.title = name, title
        self.promises: list[Promise] = []
        self.tables: dict[
            str, list[dict[str, object]]
        ] = {}  # by title: rows whose keys are the columns, where one figure is too few
        self.started = time.perf_counter()

    def add(self, promise: str, asked: str, found: str, kept: bool, why: str = "") -> None:
        """One more promise, printed."""
        self.promises.append(Promise(promise, asked, found, kept, why))
        print(f"{'kept  ' if kept else 'MISSED'}  {promise}: {found} (asked: {asked})", flush=True)

    def table(self, title: str, rows: Sequence[dict[str, object]]) -> None:
        """A table below the promises."""
        self.tables[title] = list(rows)

    def write(self, out: Path = RESULTS) -> None:
        """The JSON; the process ends with 1 where a promise was missed."""
        content = {
            "title": self.title,
            "command": " ".join([f"python -m soak.{self.name}", *sys.argv[1:]]),
            **surroundings(),
            "seconds": round(time.perf_counter() - self.started),
            "promises": [asdict(promise) for promise in self.promises],
            "tables": self.tables,
        }
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / f"{self.name}.json", content)
        if any(not promise.kept for promise in self.promises):
            sys.exit(1)
