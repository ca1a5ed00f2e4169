"""The page of a survey: how many images each class has, what looks alike, what was skipped, and what to do."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tailwise.report.names import legible
from tailwise.report.page import BOTTOM, LEFT, RIGHT, TOP, Bar, Picture, Plot, legend, picture, render, script, short
from tailwise.survey import Survey
from tailwise.survey.text import MEND, groups_of_classes, headline, sections

NAMED = 60
"""Classes that get a bar with their name; more are drawn side by side, and beyond `BARS` together with their neighbours."""

BARS = 400

PAIRS, SIDE = 24, 128
"""Pairs of look-alikes that are shown, and the longer side of their pictures in pixels."""

FILES = 1000
"""Skipped files that are listed."""

ROW, NAMES = 20, 170
"""Height of a named bar, and room for its name, in the plot's units."""

Row = Mapping[str, Any]


class Shown(NamedTuple):
    """An image of a pair."""

    picture: Picture
    alt: str
    coarse: bool


def survey_page(survey: Survey, limit: int = PAIRS) -> str:
    """One HTML page that needs nothing else; names and paths are escaped. At most ``limit`` pairs are shown as pictures."""
    record = survey.record
    rows = sorted(legible({"per_class": record["classes"]})["per_class"], key=lambda row: -row["train"])
    groups, splits = list(record["edges"]), list(record["splits"])
    pixels = record["task"] == "pixels"
    columns = {"name": "class", **{split: f"{split} pixels" if pixels else split for split in splits}, "group": "group"}
    columns |= {f"images_in_{split}": f"{split} images" for split in splits if pixels}
    near = record["alike"]["near"]
    return render(
        "survey.html",
        title=f"{Path(str(record['source'])).name}: a look at the data",
        headline=headline(record),
        plot=(_named if len(rows) <= NAMED else _profile)(rows, groups, "pixels" if pixels else "images"),
        plot_note=f"Groups: {groups_of_classes(record)}.",
        mend=record["advice"]["mend"],
        sections={title: sentences for title, sentences in sections(record).items() if title != MEND},
        command=record["advice"]["command"],
        pairs=[_pair(survey, at) for at in range(min(limit, len(near["pairs"])))],
        pairs_note=f"{min(limit, len(near['pairs'])):,} of {len(near['pairs']) + near['left_out']:,} pairs, across splits "
        "first, then those of two labels, then the most alike.",
        columns=list(columns.values()),
        rows=[[f"{row[key]:,}" if isinstance(row[key], int) else row[key] for key in columns] for row in rows],
        skipped=[f"{file['path']} ({file['split']}): {file['problem']}" for file in record["skipped"]["files"][:FILES]],
        skipped_number=len(record["skipped"]["files"]),
        script=script(),
    )


def _named(rows: Sequence[Row], groups: Sequence[str], unit: str) -> Plot:
    """A bar to the right for each class, the largest on top."""
    bottom = TOP + ROW * len(rows)
    x = _scale(rows, NAMES, RIGHT)
    bars = [
        Bar(
            NAMES,
            TOP + ROW * i + 3,
            round(max(x(row["train"]) - NAMES, 0), 1),
            ROW - 6,
            groups.index(row["group"]),
            _note(row, unit),
        )
        for i, row in enumerate(rows)
    ]
    names = [(float(TOP + ROW * i + ROW / 2), short(row["name"], 22)) for i, row in enumerate(rows)]
    across = [(round(x(tick), 1), f"{tick:,}") for tick in _ticks(rows)]
    return Plot(
        _alt(unit), f"Training {unit}, logarithmic", "", across, names, [], legend(groups, NAMES), [],
        bars=bars, grid=False, height=bottom + 50, left=NAMES, bottom=bottom,
    )  # fmt: skip


def _profile(rows: Sequence[Row], groups: Sequence[str], unit: str) -> Plot:
    """Bars side by side from the most frequent class to the rarest; of many classes one bar for neighbours, their mean."""
    parts = np.array_split(np.arange(len(rows)), min(len(rows), BARS))
    y, wide = _scale(rows, BOTTOM, TOP), (RIGHT - LEFT) / len(rows)
    bars = []
    for part in parts:
        of_part = [rows[i] for i in part]
        top = y(sum(row["train"] for row in of_part) / len(of_part))
        note = "; ".join(_note(row, unit) for row in of_part[:3]) + (f"; and {len(part) - 3} more" if len(part) > 3 else "")
        group = groups.index(of_part[-1]["group"])
        left, width = LEFT + wide * int(part[0]), wide * len(part)
        bars.append(Bar(round(left, 2), round(top, 1), round(width, 2), round(BOTTOM - top, 1), group, note))
    across = [(round(LEFT + wide * n, 1), f"{n:,}") for n in range(0, len(rows) * 9 // 10, len(rows) // 5)]
    upwards = [(round(y(tick), 1), f"{tick:,}") for tick in _ticks(rows)]
    label = f"Training {unit}, logarithmic"
    return Plot(_alt(unit), "Classes, from frequent to rare", label, across, upwards, [], legend(groups, LEFT), [], bars=bars)


def _alt(unit: str) -> str:
    return f"Training {unit} of each class, most frequent first; the table of every class has the same figures"


def _scale(rows: Sequence[Row], zero: int, end: int) -> Any:
    """Where a count lies between two ends: log(1 + n), so that none is at ``zero``."""
    largest = math.log1p(max(rows[0]["train"], 1))
    return lambda count: zero + (end - zero) * math.log1p(count) / largest


def _ticks(rows: Sequence[Row]) -> list[int]:
    """Powers of ten up to the largest count, few enough to be read."""
    decades = range(len(str(rows[0]["train"])))
    return [0, *(10**decade for decade in decades[:: max(len(decades) // 5, 1)])]


def _note(row: Row, unit: str) -> str:
    return f"{row['name']}: {row['train']:,} training {unit} ({row['group']})"


def _pair(survey: Survey, at: int) -> dict[str, Any]:
    pair, said = survey.alike.pairs[at], survey.record["alike"]["near"]["pairs"][at]
    first, second = said["first"], said["second"]
    kinds = [
        *(["across splits"] if first["split"] != second["split"] else []),
        *(["two labels"] if first.get("class") != second.get("class") else []),
        "equal pixels" if said["equal_pixels"] else f"difference {said['difference']:.2f}",
    ]
    cards = [", ".join(one[key] for key in ("path", "split", "class") if key in one) for one in (first, second)]
    return {
        "kind": ", ".join(kinds),
        "images": [_shown(survey.image(number), card) for number, card in zip(pair[:2], cards, strict=True)],
        "cards": cards,
    }


def _shown(image: Image.Image, alt: str) -> Shown:
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    larger = max(SIDE // 2 // max(image.size), 1)  # small pictures are shown enlarged
    made = picture(np.asarray(small), "JPEG")
    return Shown(made._replace(width=made.width * larger, height=made.height * larger), alt, larger > 1)
