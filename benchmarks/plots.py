"""One picture of how cost grows: a panel per line, both axes logarithmic, the slopes in its title."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import Row
from benchmarks.tables import grows, slopes


def draw(lines: Mapping[str, list[Row]], path: Path) -> None:
    """Seconds, and MiB where there are any, against ``x``, for each titled line of growth; writes the file."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "tailwise"  # equal lines, equal file
    from matplotlib import pyplot, ticker

    columns = min(3, len(lines))
    down = -(-len(lines) // columns)
    figure, axes = pyplot.subplots(down, columns, figsize=(4.4 * columns, 3.4 * down), squeeze=False)
    for axis in axes.flat[len(lines) :]:
        axis.remove()
    for axis, (title, rows) in zip(axes.flat, lines.items(), strict=False):
        x = [row["x"] for row in rows]
        axis.loglog(x, [row["seconds"] for row in rows], "o-", color="#0b5394", label="seconds")
        stated = ", ".join(f"{cost} {found:.2f}" for cost, found in slopes(rows).items())
        axis.set_title(f"{textwrap.fill(title, 44)}\nslope of {stated}", fontsize=9)
        axis.set(xlabel=grows(title), ylabel="seconds")
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())
        axis.grid(True, which="major", color="#dddddd")
        if "MiB" in rows[0]:
            memory = axis.twinx()
            memory.loglog(x, [row["MiB"] for row in rows], "s--", color="#b45f06", label="MiB")
            memory.set_ylabel("MiB")
            axis.legend(handles=[*axis.lines, *memory.lines], frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
