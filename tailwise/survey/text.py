"""A survey on a terminal: bars of the classes, what was found, what to do."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tailwise.errors import visible

SHOWN = 40
"""Classes that are all listed; of more, half as many at either end."""

BAR, NAME = 30, 28
"""Characters of the longest bar, and of a name, where there is room."""

PAIRS, FILES = 5, 5
"""Pairs of look-alikes and skipped files that are listed."""

MEND = "To mend first"
"""The title of what is wrong with the data."""

COLOURS = {"many": "blue", "head": "blue", "medium": "yellow", "few": "red", "tail": "red"}

Record = Mapping[str, Any]


def show(record: Record, console: Console) -> None:
    """Print a survey's record; names and paths are never read as markup, and their control characters are spelt."""

    def line(text: str = "", style: str = "") -> None:
        console.print(Text("\n".join(visible(one, len(one)) for one in text.split("\n")), style=style))

    line(headline(record), "bold")
    line()
    console.print(_bars(record, "#" if console.options.ascii_only else "█", console.width))
    line(f"bars are logarithmic; groups: {groups_of_classes(record)}", "dim")
    for title, sentences in sections(record).items():
        line()
        line(title, "bold")
        for sentence in sentences:
            line(textwrap.fill(sentence, console.width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False))
    line()
    line(record["advice"]["command"], "bold")


def headline(record: Record) -> str:
    """The source in one line."""
    splits = ", ".join(f"{name} {one['images']:,}" for name, one in record["splits"].items())
    factor = record["splits"]["train"]["imbalance_factor"]
    masks = " with masks" if record["task"] == "pixels" else ""
    return f"{record['source']}: {len(record['classes']):,} classes; images{masks}: {splits}; imbalance factor {factor:g}"


def groups_of_classes(record: Record) -> str:
    """The groups with their edges and numbers of classes."""
    groups = [row["group"] for row in record["classes"]]
    unit = "of the training pixels, of C classes; numbers are pixels" if record["task"] == "pixels" else "training images"
    return "; ".join(f"{name} {edge} ({groups.count(name):,})" for name, edge in record["edges"].items()) + f"; {unit}"


def sections(record: Record) -> dict[str, list[str]]:
    """What was found and what to do, as sentences by title; what is not there has no title."""
    advice = record["advice"]
    images = ", ".join(f"{name} {number:,}" for name, number in advice["images"].items())
    found = {
        "Images": _images(record["images"]),
        "Groups": _groups(record["groups"]),
        "Copies and look-alikes": _alike(record["alike"]),
        "Skipped": _skipped(record["skipped"]),
        MEND: advice["mend"],
        "What fit will do": [*advice["split"], f"Images: {images}.", *advice["method"]],
        "What to expect": advice["difficulty"],
    }
    return {title: sentences for title, sentences in found.items() if sentences}


def bar(count: int, largest: int, longest: int) -> int:
    """Length of a bar in 0..``longest``: log(1 + n) in proportion; something for every n > 0."""
    return math.ceil(longest * math.log1p(count) / math.log1p(largest)) if largest else 0


def short(number: int) -> str:
    """Three digits of a number and its thousands: 950, 20.1k, 1.04M."""
    for sign, unit in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= unit:
            return f"{number / unit:.3g}{sign}" if number < 999.5 * unit else f"{number / unit:.0f}{sign}"
    return str(number)


def _bars(record: Record, block: str, width: int) -> Table:
    rows = sorted(record["classes"], key=lambda row: -row["train"])
    largest, splits = rows[0]["train"], list(record["splits"])
    pixels = record["task"] == "pixels"
    numbers = {split: [short(row[split]) if pixels else f"{row[split]:,}" for row in rows] for split in splits}
    taken = min(max(len(row["name"]) for row in rows), NAME) + sum(
        2 + max(map(len, [split, *numbers[split]])) for split in splits
    )
    longest = min(max(width - taken - 12, 8), BAR)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("class", max_width=NAME, no_wrap=True, overflow="ellipsis")
    table.add_column("", no_wrap=True)
    for split in splits:
        table.add_column(split, justify="right", no_wrap=True)
    table.add_column("group", no_wrap=True)
    half = SHOWN // 2
    hidden = len(rows) - 2 * half if len(rows) > SHOWN else 0
    for at, row in enumerate(rows):
        if hidden and at == half:
            table.add_row(Text(f"… {hidden:,} more …", style="dim"))
        if hidden and half <= at < half + hidden:
            continue
        drawn = Text(block * bar(row["train"], largest, longest), style=COLOURS[row["group"]])
        table.add_row(Text(visible(row["name"])), drawn, *(numbers[split][at] for split in splits), row["group"])
    return table


def _images(images: Record) -> list[str]:
    smallest, largest = ("{} × {}".format(*images[key]) for key in ("smallest", "largest"))
    sizes = (
        f"All are {smallest} pixels."
        if images["one_size"]
        else f"Sizes from {smallest} to {largest} pixels; median short side {images['median_short_side']}."
    )
    stored = ", ".join(f"{mode} {number:,}" for mode, number in images["stored"].items())
    said = [sizes, *([f"Stored as {stored}."] if stored else [])]
    if images["colourless"]:
        said.append(f"Without colour: {images['colourless']:,} of {images['number']:,}.")
    return said


def _groups(groups: Record | None) -> list[str]:
    if groups is None:
        return []
    largest, alone = groups["largest"], groups["classes_in_one_group"]
    said = [
        f"Groups that stay together: {groups['number']:,}; the largest, {largest['name']}, has {largest['images']:,} images."
    ]
    if groups["of_one_image"]:
        said.append(f"Groups of one image: {groups['of_one_image']:,}.")
    if alone:
        said.append(f"Classes that lie in one group, so they cannot be both trained and tested: {_first(alone)}.")
    return said


def _alike(alike: Record) -> list[str]:
    copies, near = alike["copies"], alike["near"]
    if not copies["number"] and not near["pairs"]:
        tiny = " Only equal pixels were looked for: so small images all look alike." if near["only_equal"] else ""
        return [f"None found.{tiny}"]
    said = []
    if copies["number"]:
        said.append(
            f"Exact copies, left out: {copies['number']:,}; across splits {copies['across']:,}, under another label "
            f"{copies['conflicts']:,}."
        )
    if near["pairs"]:
        leaks = "".join(f"; of {split} like one of train: {number:,}" for split, number in near["leaks"].items())
        said.append(
            f"Near duplicates: {near['images']:,} images (clusters: {near['clusters']:,}){leaks}; pairs of two labels: "
            f"{near['conflicts']:,}."
        )
    for pair in near["pairs"][:PAIRS]:
        said.append(f"{_card(pair['first'])} ~ {_card(pair['second'])}{' (equal pixels)' if pair['equal_pixels'] else ''}")
    more = len(near["pairs"]) + near["left_out"] - PAIRS
    return [*said, f"… and {more:,} more pairs."] if more > 0 else said


def _card(one: Record) -> str:
    return f"{one['path']} [{', '.join(one[key] for key in ('split', 'class') if key in one)}]"


def _skipped(skipped: Record) -> list[str]:
    files = skipped["files"]
    if not files:
        return []
    said = ["; ".join(f"{problem}: {number:,}" for problem, number in skipped["by_problem"].items()) + "."]
    said += [f"{file['path'] or file['split']}: {file['problem']}" for file in files[:FILES]]
    return [*said, f"… and {len(files) - FILES:,} more."] if len(files) > FILES else said


def _first(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")
