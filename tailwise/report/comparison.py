"""Several runs on one page: a table with the spread over seeds, what seeds share, and every run in every group."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tailwise.files import write_whole
from tailwise.report.figures import Figures, figures
from tailwise.report.page import WIDTH, Bar, Dot, Line, Plot, render, script, short
from tailwise.report.text import APART, NOT_AVAILABLE, by_data, per_run, percent, spread, whose_edges
from tailwise.report.words import several

Result = Mapping[str, Any]
Results = Mapping[str, Sequence[Result]]
"""Result blocks by method, as `tailwise.train.run.by_recipe` makes them."""

ROW, MARGIN = 46, 10
"""Height of a method in a plot, and between the side of the field and the lowest mark."""


def comparison(results: Results) -> str:
    """One HTML page that needs nothing else: the table of `tailwise.report.compare`, differences, and a plot for each group.

    Runs on different data stand in parts of their own, and nothing is subtracted across them.
    Raises `TailwiseError` where the runs are of several kinds, such as of images and of pixels.
    """
    everything = [run for runs in results.values() for run in runs]
    shown = figures(everything)
    parts = by_data(results)
    once = all(len(runs) == 1 for runs in results.values())
    notes = [APART] if len(parts) > 1 else []
    notes += (
        ["Each method ran once: nothing here tells a difference from luck. Repeat with --seed 1, --seed 2."] if once else []
    )
    return render(
        "compare.html",
        script=script(),
        title=f"{several(len(everything), 'run')} compared",
        notes=notes,
        parts=[_part(called if len(parts) > 1 else "", of, shown) for called, of in parts],
    )


def _part(called: str, results: Results, shown: Figures) -> dict[str, Any]:
    """What the page shows of the runs on one set of data."""
    columns = {shown.title: lambda run: run[shown.headline]} | dict(shown.columns)
    rows = [
        [
            name,
            str(len(runs)),
            *(spread(map(of, runs), 100) for of in [*columns.values(), shown.worst]),
            spread(run.get("seconds") for run in runs),
        ]
        for name, runs in results.items()
    ]
    first, *others = results
    differences = [[name, *_difference(results[first], results[name], columns)] for name in others]
    lines = whose_edges(results, shown)
    for label, key in [("Data", "data")] * (not called) + [("Epochs", "epochs")]:
        lines += [f"{label}: {stated}."] if (stated := per_run(results, key)) else []
    return {
        "title": called,
        "notes": lines,
        "caption": f"{shown.about} of the test split in %, last epoch; mean ± sd over n seeds; n/a: no class in the group",
        "columns": ["method", "n", *columns, "worst class", "seconds"],
        "rows": rows,
        "difference_caption": f"Points more than {first}, seed by seed; mean ± sd over the seeds that both have",
        "difference_columns": ["method", "shared seeds", *columns],
        "differences": differences,
        "plots": [plot for title, of in columns.items() if (plot := paired(results, of, title))],
    }


def write(path: Path, results: Results) -> None:
    """Write `comparison` to a file, whole or not at all; raises `TailwiseError` when it cannot be."""
    write_whole(path, comparison(results).encode(errors="replace"), "choose another --html")


def _difference(base: Sequence[Result], runs: Sequence[Result], columns: Mapping[str, Any]) -> list[str]:
    """How many seeds are shared, and the mean difference in each column."""
    of_seed = {run["seed"]: run for run in base}
    both = [(run, of_seed[run["seed"]]) for run in runs if run["seed"] in of_seed]
    cells = [str(len(both))]
    for of in columns.values():
        defined = [of(run) - of(before) for run, before in both if of(run) is not None and of(before) is not None]
        text = spread(defined, 100)
        cells.append(text if text == NOT_AVAILABLE or text.startswith("-") else f"+{text}")
    return cells


def paired(results: Results, of: Any, title: str) -> Plot | None:
    """A figure of all runs: a row for each method, a mark for each run, a line through the runs of one seed, bars at the means.

    None where the figure is defined for no run.
    """
    values = {name: {run["seed"]: of(run) for run in runs if of(run) is not None} for name, runs in results.items()}
    given = [value for by_seed in values.values() for value in by_seed.values()]
    if not given:
        return None
    left, right, top = 24, WIDTH - 24, 34  # numbers stand around their ticks
    bottom = top + ROW * len(values)
    low, high = max(min(given) - 0.02, 0), min(max(given) + 0.02, 1)

    def x(value: float) -> float:
        return float(round(left + MARGIN + (right - left - 2 * MARGIN) * (value - low) / (high - low), 1))

    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / s <= 7)
    ticks = [step * i for i in range(round(1 / step) + 1) if low <= step * i <= high]
    height = {name: round(top + ROW * (i + 0.65), 1) for i, name in enumerate(values)}
    dots, bars, seeds = [], [], sorted({seed for by_seed in values.values() for seed in by_seed})
    for name, by_seed in values.items():
        for seed, value in by_seed.items():
            note = f"{name}, seed {seed}: {title} {percent(value)} %"
            dots.append(Dot("", x(value), height[name], 0, note, None, 0.9))
        if by_seed:
            mean = sum(by_seed.values()) / len(by_seed)
            note = f"{name}: mean of {several(len(by_seed), 'run')} {percent(mean)} %"
            bars.append(Bar(x(mean) - 2, height[name] - 11, 4, 22, 2, note))
    lines = [Line([(x(values[name][seed]), height[name]) for name in values if seed in values[name]], "thin") for seed in seeds]
    return Plot(
        f"{title} of every run, by method; the tables above have the means",
        "",
        title,
        across=[(x(tick), f"{100 * tick:.3g} %") for tick in ticks],
        upwards=[],
        edges=[],
        key=[],
        dots=dots,
        lines=lines,
        bars=bars,
        rows=[(at - 18, short(name, 60)) for name, at in height.items()],
        height=bottom + 26,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
    )
