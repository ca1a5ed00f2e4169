"""``docs/reliability.md`` from ``soak/results``: what stands between the two marks is written anew.

python -m soak.page
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.readme import about
from benchmarks.tables import markdown
from soak.record import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
PARTS = (
    "resume",
    "parallel",
    "cluster",
    "numbers",
    "metrics",
    "mutants",
    "files",
    "load",
    "flat",
    "doctor",
    "geometry",
)
"""In the order of the page; a result of another name is shown after them."""
BEGIN, END = "<!-- written by python -m soak.page -->", "<!-- end of what is written -->"


def section(record: dict[str, Any]) -> str:
    """One part: its promises as a table, what it was measured with, and its own tables."""
    rows = [
        {
            "promise": row["promise"],
            "asked": row["asked"],
            "found": line(row["found"]),
            "": "kept" if row["kept"] else "**missed**",
        }
        for row in record["promises"]
    ]
    notes = [f"- {row['promise']}: {line(row['why'])}" for row in record["promises"] if row["why"]]
    parts = [f"## {record['title']}", markdown(rows), "\n".join(notes), f"{about(record)} {minutes(record['seconds'])}."]
    for title, table in record["tables"].items():
        parts += [f"### {title}", markdown(table)]
    return "\n\n".join(part for part in parts if part)


def line(text: str) -> str:
    """Without line breaks, which would end a row of a table."""
    return " ".join(text.split())


def minutes(seconds: float) -> str:
    """How long it took, in words."""
    return f"It took {seconds / 60:.0f} minutes" if seconds >= 90 else f"It took {seconds:.0f} s"


def render(page: str, records: Iterable[dict[str, Any]]) -> str:
    """The page with what stood between the marks replaced; ValueError without both marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    records = list(records)
    sections = [f"{section(record)}\n\n" for record in records]
    return f"{before}{BEGIN}\n\n{summary(records)}\n\n{''.join(sections)}{END}{after}"


def summary(records: Sequence[dict[str, Any]]) -> str:
    """How many promises were kept, and those that were not."""
    rows = [(record["title"], row) for record in records for row in record["promises"]]
    missed = [f"- {title}: {row['promise']}: {line(row['found'])}." for title, row in rows if not row["kept"]]
    return "\n".join(
        [
            f"**{len(rows) - len(missed)} of {len(rows)} promises were kept.** Missed:"
            if missed
            else f"**All {len(rows)} promises were kept.**",
            *([""] if missed else []),
            *missed,
        ]
    )


def results() -> list[Path]:
    """What was measured, in the order of `PARTS`."""
    order = {name: at for at, name in enumerate(PARTS)}
    return sorted(RESULTS.glob("*.json"), key=lambda path: (order.get(path.stem, len(PARTS)), path.stem))


if __name__ == "__main__":
    records = [json.loads(path.read_text(encoding="utf-8")) for path in results()]
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), records), encoding="utf-8")
    print(f"written: {PAGE}")
