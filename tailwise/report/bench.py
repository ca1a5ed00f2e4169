"""The table of a bench: what is claimed, what we measured, and where they cannot be compared."""

import html as escape
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tailwise.report.figures import IMAGES, Figures, figures
from tailwise.report.text import per_run, spread


@dataclass(frozen=True)
class Row:
    """One recipe: its ``about`` block, the result blocks of its finished seeds, and what failed."""

    name: str
    about: Mapping[str, str]
    results: Sequence[Mapping[str, Any]]
    failures: Sequence[str] = ()

    def differs(self, overrides: Sequence[str]) -> str:
        """Why the row is starred: what the recipe states, and what the command changed; empty for neither."""
        method = [word for word in overrides if not word.startswith("--engine.")]  # the engine changes speed only
        changed = [f"run with {' '.join(method)}"] if method else []
        return "; ".join([*filter(None, [self.about.get("differs", "")]), *changed]) if self.claim else ""

    @property
    def claim(self) -> str:
        """The paper's figure, as the recipe states it; empty for a recipe that claims none."""
        claimed = str(self.about.get("claimed", ""))
        return claimed if claimed[:1].isdigit() else ""

    def cells(self, overrides: Sequence[str], shown: Figures = IMAGES) -> list[str]:
        """The row as text, column by column."""
        star = "*" if self.differs(overrides) else ""
        failed = "failed" if self.failures and not self.results else ""
        return [
            self.name + star,
            self.claim or "none",
            str(len(self.results)),
            failed or spread((run[shown.headline] for run in self.results), 100),
            spread((best and best[shown.headline] for best in (run.get("best_epoch") for run in self.results)), 100),
            *(spread(map(of, self.results), 100) for of in shown.columns.values()),
            spread(run.get("seconds") for run in self.results),
            spread(run.get("peak_memory_mb") for run in self.results),
        ]


def columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """The titles of the table's columns: its `figures` between others."""
    return ("method", "claimed", "n", "last epoch", "best epoch", *_shown(rows).columns, "seconds", "peak MB")


def _shown(rows: Sequence[Row]) -> Figures:
    return figures(run for row in rows for run in row.results)


def notes(rows: Sequence[Row], overrides: Sequence[str]) -> list[str]:
    """What stands under the table: protocol, sources of the claims, stars, failures."""
    results = {row.name: row.results for row in rows if row.results}
    everything = [run for runs in results.values() for run in runs]
    shown = figures(everything)
    lines = [f"{shown.about} of the test split in %, of the last epoch's model; mean ± sd over n seeds; n/a: none."]
    lines += ["Seconds: training of the row's own run, without the runs that it needs, such as a teacher or a first stage."]
    lines += ["Peak MB: of the GPU's memory, or, without one, of the whole process with its data and libraries."]
    lines += ["Best epoch: the highest on a validation split, where the recipe holds one out; it selects nothing."]
    lines += [f"{edges}." for edges in sorted(set(map(shown.edges, everything)))]
    lines += [
        f"{label}: {stated}." for label, key in (("Data", "data"), ("Epochs", "epochs")) if (stated := per_run(results, key))
    ]
    for name, runs in results.items():
        if best := [run["best_epoch"] for run in runs if run.get("best_epoch")]:
            epochs, splits = (", ".join(dict.fromkeys(str(b[key]) for b in best)) for key in ("epoch", "split"))
            lines.append(f"{name}: best epoch {epochs} on {splits}.")
    for row in rows:
        if row.claim:
            lines.append(
                f"{row.name}: {row.claim} is claimed by {row.about.get('source') or row.about.get('paper', 'its paper')}."
            )
        if star := row.differs(overrides):
            lines.append(f"* {row.name} is not the paper's: {star}.")
        lines += [f"{row.name}, {failure}." for failure in row.failures]
    return lines


def markdown(rows: Sequence[Row], overrides: Sequence[str] = ()) -> str:
    """The table and its notes as Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_escaped(cell).replace("|", "\\|") for cell in cells) + " |"

    titles, shown = columns(rows), _shown(rows)
    rule = "|" + "|".join(["---", *["---:"] * (len(titles) - 1)]) + "|"
    table = [line(titles), rule, *(line(row.cells(overrides, shown)) for row in rows)]
    return "\n".join([*table, "", *(f"- {_escaped(note)}" for note in notes(rows, overrides))]) + "\n"


def _escaped(text: str) -> str:
    """Neither emphasis nor a tag to Markdown."""
    return text.replace("*", "\\*").replace("<", "\\<")


STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}
body{color:#1b1b1b;background:#fff}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}caption{text-align:left;font-weight:600;padding:.5rem 0}
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid #ccc;white-space:nowrap}
th:first-child{text-align:left}
tbody tr:hover{background:#f3f6fa}.failed{color:#a00000}"""


def html(rows: Sequence[Row], overrides: Sequence[str] = (), title: str = "Long-tailed recognition: methods compared") -> str:
    """The table and its notes as one page that needs nothing else."""

    def cells(row: Row) -> str:
        first, *rest = (escape.escape(cell) for cell in row.cells(overrides, _shown(rows)))
        failed = ' class="failed"' if row.failures else ""
        return f'<tr{failed}><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"

    head = "".join(f'<th scope="col">{escape.escape(column)}</th>' for column in columns(rows))
    body = "\n".join(cells(row) for row in rows)
    items = "\n".join(f"<li>{escape.escape(note)}</li>" for note in notes(rows, overrides))
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape.escape(title)}</title>
<style>{STYLE}</style></head>
<body>
<h1>{escape.escape(title)}</h1>
<div class="wide"><table><caption>Accuracy by method</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></div>
<ul>
{items}
</ul>
</body></html>
"""
