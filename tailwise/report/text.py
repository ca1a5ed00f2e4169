"""Results as plain text: a table that compares methods over seeds, and what the cards of single runs are made of.

Pure functions of the result blocks that `tailwise.evaluate.judge` makes. Shares are shown in percent with one decimal,
and what is undefined as n/a.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tailwise.report.figures import Figures, figures

WIDTH, NAME, GUTTER = 100, 20, 3
"""Of a table, of its first column at least, and between two columns (rich's own), in characters."""

SHOWN = 20
"""A card lists every class up to this many, and above it only the ten of lowest recall."""

NOT_AVAILABLE = "n/a"
APART = "These runs were judged on different data: figures of one set say nothing about those of another, so they stand apart."
NO_PRIOR = f"{NOT_AVAILABLE} (the logits carry no prior)"
"""What a card says of figures after adjustment where there is nothing to adjust."""


def percent(share: float | None, sign: str = "") -> str:
    """A share in percent with one decimal, or n/a; ``sign="+"`` also shows the sign of a gain."""
    return NOT_AVAILABLE if share is None else f"{100 * share:{sign}.1f}"


def spread(values: Iterable[float | None], scale: float = 1) -> str:
    """Mean ± sample standard deviation (n − 1) of the defined values, with one decimal.

    No spread for one value, n/a for none. How many are meant is added when some are undefined.
    """
    given = list(values)
    defined = [scale * v for v in given if v is not None]
    if not defined:
        return NOT_AVAILABLE
    text = f"{fmean(defined):.1f}"
    if len(defined) > 1:
        text += f" ± {stdev(defined):.1f}"
    return text if len(defined) == len(given) else f"{text} ({len(defined)} of {len(given)})"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with the first column to the left and the others to the right, without colour codes.

    It is at most 100 wide: long names in the first column are folded. Figures are never cut, and widen it if they must.
    """
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    drawn.add_column(columns[0], overflow="fold")
    rows = list(rows)
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(1, len(columns))]
    for column in columns[1:]:
        drawn.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    page = io.StringIO()
    # class and run names are data: brackets and colons in them are not markup
    width = max(WIDTH, NAME + sum(GUTTER + width for width in widths))
    Console(file=page, width=width, color_system=None, markup=False, emoji=False, highlight=False).print(drawn)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def per_run(results: Mapping[str, Sequence[Mapping[str, Any]]], key: str) -> str:
    """The value of a key when all runs agree on it, otherwise the values of each group; empty when no run states it."""
    stated = {name: [*dict.fromkeys(str(r[key]) for r in runs if key in r)] for name, runs in results.items()}
    different = {value for values in stated.values() for value in values}
    if len(different) < 2:
        return "".join(different)
    return ", ".join(f"{name}: {' and '.join(values)}" for name, values in stated.items() if values)


def test_set(run: Mapping[str, Any]) -> tuple[object, ...]:
    """What a run was judged on: its data, and the test samples of each class. Figures of two are not to be compared."""
    return run.get("data"), *((row["name"], row["test"]) for row in run.get("per_class", ()))


def by_data(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, dict[str, list[Mapping[str, Any]]]]]:
    """The same runs apart by their `test_set`, with what each is called."""
    found: dict[tuple[object, ...], dict[str, list[Mapping[str, Any]]]] = {}
    for name, runs in results.items():
        for run in runs:
            found.setdefault(test_set(run), {}).setdefault(name, []).append(run)
    return [(_called(next(iter(of.values()))[0]), of) for of in found.values()]


def _called(run: Mapping[str, Any]) -> str:
    sizes = [f"{len(run['per_class']):,} classes"] if "per_class" in run else []
    sizes += [f"{run['n_test']:,} test images"] if "n_test" in run else []
    return f"{run.get('data', 'of no name')}" + (f" ({', '.join(sizes)})" if sizes else "")


def whose_edges(results: Mapping[str, Sequence[Mapping[str, Any]]], shown: Figures) -> list[str]:
    """The edges of the groups with their numbers of classes: one sentence, or several that say whose they are."""
    said: dict[str, dict[str, None]] = {}
    for name, runs in results.items():
        for run in runs:
            said.setdefault(shown.edges(run), {})[name] = None
    if len(said) < 2:
        return [f"{edges}." for edges in said]
    return [f"{edges}: {', '.join(names)}." for edges, names in said.items()]


def _best_epoch(name: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The labelled best-epoch line of a group, if its runs have one."""
    best, shown = [run["best_epoch"] for run in runs if run.get("best_epoch")], figures(runs)
    if not best:
        return []
    splits = " and ".join(dict.fromkeys(str(b["split"]) for b in best))
    epochs = ", ".join(str(b["epoch"]) for b in best)
    main = spread((b[shown.headline] for b in best), 100)
    return [f"Best epoch on {splits}, not in the table: {name} {main} (epoch {epochs})."]


def compare(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The comparison of methods: one row for each group of runs that differ in their seed, mean ± sd over the runs.

    ``results`` maps a method's name to its result blocks. Runs on different data stand in tables of their own. Below a
    table stand the selection rule, the edges and sizes of the groups and the epochs (for each method where they differ),
    the data, and a best-epoch line for each method whose runs state one.
    """
    shown = figures(run for runs in results.values() for run in runs)
    parts = by_data(results)
    if len(parts) < 2:
        return "\n".join(_compared(results, shown)) + "\n"
    apart = [line for called, of in parts for line in ("", f"Data: {called}", "", *_compared(of, shown, named=False))]
    return "\n".join([APART, *apart]) + "\n"


def _compared(results: Mapping[str, Sequence[Mapping[str, Any]]], shown: Figures, named: bool = True) -> list[str]:
    rows = [
        [
            name,
            str(len(runs)),
            spread((run[shown.headline] for run in runs), 100),
            *(spread(map(of, runs), 100) for of in shown.columns.values()),
            spread(map(shown.worst, runs), 100),
            spread(run.get("seconds") for run in runs),
        ]
        for name, runs in results.items()
    ]
    lines = [table(["method", "n", shown.title, *shown.columns, "worst class", "seconds"], rows), ""]
    lines.append(f"{shown.about} in %, last epoch; mean ± sd over n seeds; n/a: no class in the group.")
    lines += whose_edges(results, shown)
    for label, key in [("Data", "data")] * named + [("Epochs", "epochs")]:
        stated = per_run(results, key)
        lines += [f"{label}: {stated}."] if stated else []
    return lines + [line for name, runs in results.items() for line in _best_epoch(name, runs)]


def row(shares: Mapping[str, float | None], sign: str = "") -> str:
    """Named shares side by side; ``sign`` as for `percent`."""
    return "   ".join(f"{name} {percent(share, sign)}" for name, share in shares.items())


def worst(result: Mapping[str, Any], shown: Figures) -> str:
    """The lowest figure of a class, and whose it is."""
    return f"{percent(shown.worst(result))} ({result['worst']['name']})" if result["worst"] else NOT_AVAILABLE


def best_epoch(result: Mapping[str, Any], shown: Figures) -> dict[str, str]:
    """The labelled line of a card, where the epochs were looked at on a validation split."""
    best = result.get("best_epoch")
    said = f"{percent(best[shown.headline])} at epoch {best['epoch']} on {best['split']}, not the result" if best else ""
    return {"best epoch": said} if best else {}


def classes(rows: Sequence[Mapping[str, Any]], shown: Figures, limit: int = SHOWN) -> tuple[str, list[Mapping[str, Any]]]:
    """The classes that a card lists, all or the ten of lowest main figure where there are more than ``limit``, and a title."""
    if len(rows) <= limit:
        return "Every class", list(rows)
    title, key = shown.main
    judged = sorted((row for row in rows if row[key] is not None), key=lambda row: float(row[key]))
    return f"The ten of {len(rows)} classes with the lowest {title}", judged[:10]


def counted(result: Mapping[str, Any], shown: Figures) -> str:
    """The table of the `classes` of a card: training and test samples, and every figure of a class."""
    title, chosen = classes(result["per_class"], shown)
    keys = shown.of_class.values()
    rows = [[of["name"], str(of["train"]), str(of["test"]), *(percent(of[key]) for key in keys)] for of in chosen]
    return f"{title}\n{table(['class', 'train', 'test', *shown.of_class], rows)}"


def heading(result: Mapping[str, Any]) -> list[str]:
    """The first lines of a card: what the run was, where the result block says so."""
    head = [f"{key} {result[key]}" for key in ("recipe", "data", "seed", "epochs") if key in result]
    head += [f"{result['seconds']:.1f} seconds"] if "seconds" in result else []
    title = "Result of the last epoch, in %"
    return [", ".join(head) or title, *([title] if head else []), ""]


def listed(facts: Mapping[str, str]) -> list[str]:
    """A line for each fact, their values below one another."""
    wide = max(map(len, facts))
    return [f"{label:<{wide}}  {value}" for label, value in facts.items()]
