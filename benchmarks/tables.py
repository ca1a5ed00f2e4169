"""Tables as Markdown, and lines of growth as a table. A line is a table titled ``COST against WHAT, CONDITIONS``.

Its columns are ``x`` (how much there is of WHAT), ``seconds`` and, where memory was measured, ``MiB``.
"""

from collections.abc import Mapping

from benchmarks.measure import Row, slope

LINEAR = 1.2
"""Up to this slope a line counts as linear: caches and changes of method make steps in lines that are linear."""


def markdown(rows: list[Row]) -> str:
    """A table of rows, whose columns are the keys of all of them; numbers to four digits."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *[[_cell(row.get(column, "")) for column in columns] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return str(value)


def lines(tables: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """Those of the tables that are lines of growth."""
    return {title: rows for title, rows in tables.items() if rows and "x" in rows[0]}


def grows(title: str) -> str:
    """What a line of growth is against."""
    return title.split(" against ")[1].split(",")[0]


def slopes(rows: list[Row]) -> dict[str, float]:
    """The exponent of growth of each cost of a line."""
    return {cost: round(slope(rows, cost), 2) + 0.0 for cost in ("seconds", "MiB") if cost in rows[0]}


def growth(tables: Mapping[str, list[Row]]) -> list[Row]:
    """A row for each line of growth: its costs at both ends, their slopes, and whether all are linear or better."""
    rows: list[Row] = []
    for title, line in lines(tables).items():
        found = slopes(line)
        row: Row = {"line": title, "from … to": _ends(line, "x")}
        for cost in ("seconds", "MiB"):
            row |= {cost: _ends(line, cost), f"slope of {cost}": f"{found[cost]:.2f}"} if cost in found else {}
        rows.append(row | {"linear or better": "yes" if max(found.values()) <= LINEAR else "**no**"})
    return rows


def _ends(line: list[Row], column: str) -> str:
    return f"{_cell(line[0][column])} … {_cell(line[-1][column])}"
