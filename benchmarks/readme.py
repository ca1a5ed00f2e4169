"""The results of every machine in ``benchmarks/results``, written into ``benchmarks/README.md`` between its two marks.

python -m benchmarks.readme
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import growth, lines, markdown
from benchmarks.targets import verdicts

HERE = Path(__file__).parent
BEGIN, END = "<!-- results: written by python -m benchmarks.readme -->", "<!-- end of results -->"


def section(path: Path) -> str:
    """One machine: what it is and when, targets, growth with its picture, and the other tables."""
    record = json.loads(path.read_text(encoding="utf-8"))
    tables, picture = record["tables"], path.with_suffix(".svg")
    parts = [f"## {machine(record['hardware'])}", about(record), "### Targets", markdown(verdicts(tables))]
    if lines(tables):
        parts += ["### Growth", markdown(growth(tables))]
        parts += [f"![each line of growth]({picture.parent.name}/{picture.name})"] if picture.exists() else []
    for title, rows in tables.items():
        parts += [f"### {title}", markdown(rows)] if title not in lines(tables) else []
    return "\n\n".join(parts)


def machine(hardware: dict[str, Any]) -> str:
    """A GPU's name where there is one, else the processor's and its cores."""
    return ", ".join(dict.fromkeys(hardware["gpus"])) or f"{hardware['cpu']}, {hardware['cores']} cores"


def about(record: dict[str, Any]) -> str:
    """Command, date, threads and versions."""
    hardware, versions = record["hardware"], ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    where = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['threads']} threads"
    return f"`{record['command']}`, {record['date'][:10]}, {where}; {versions}."


def render(readme: str, results: Sequence[Path]) -> str:
    """The text with what stood between the marks replaced by the results; ValueError without both marks."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n" + "".join(f"{section(path)}\n\n" for path in results) + END + after


def results() -> list[Path]:
    """What was measured, by name of machine."""
    return sorted((HERE / "results").glob("*.json"))


if __name__ == "__main__":
    page = HERE / "README.md"
    page.write_text(render(page.read_text(encoding="utf-8"), results()), encoding="utf-8")
    print(f"written: {page}")
