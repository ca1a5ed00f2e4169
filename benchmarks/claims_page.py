"""What was measured of the papers' claims, written into docs/claims.md between its two marks.

python -m benchmarks.claims_page
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.claims import ARMS, BEYOND, CLAIMS, compare
from benchmarks.readme import about
from benchmarks.tables import markdown

DOCS = Path(__file__).parent.parent / "docs"
PAGE, RESULTS = DOCS / "claims.md", DOCS / "results" / "claims"
BEGIN, END = "<!-- written by python -m benchmarks.claims_page -->", "<!-- end of what is written -->"
TITLES = {"cifar10": "CIFAR-10-LT", "tiny": "Tiny-ImageNet-32-LT"}
SIGNS = {1: "more", -1: "less"}


def section(name: str, record: Mapping[str, Any]) -> str:
    """One data set: what was trained, the recalls of all arms, and a row for each claim."""
    data = record["data"]
    counts = data["train_counts"]
    sizes = (
        f"{sum(counts)} training images in {len(counts)} classes, {max(counts)} to {min(counts)} each, {data['epochs']} epochs"
    )
    parts = [f"## {TITLES.get(name, name)}", f"{about(record)} {sizes}.", markdown(recalls(record["results"]))]
    return "\n\n".join([*parts, markdown(claims(record["studies"]))])


def recalls(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, object]]:
    """A row for each arm: mean recall over classes in %, by group, over the seeds."""
    rows = []
    for arm, runs in results.items():
        row: dict[str, object] = {"arm": ARMS[arm], "seeds": len(runs)}
        for group in ("balanced", "many", "medium", "few"):
            values = [100 * run[group] for run in runs.values() if run[group] is not None]
            row["all" if group == "balanced" else group] = spread(values, 1) if values else "n/a"
        rows.append(row)
    return rows


def claims(studies: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """A row for each claim whose runs are there, with a column for each group of classes that it is about."""
    by_seed = {arm: {int(seed): found for seed, found in runs.items()} for arm, runs in studies.items()}
    rows: dict[tuple[str, ...], dict[str, object]] = {}
    for claim in CLAIMS:
        if (found := compare(claim, by_seed)) is None:
            continue
        key = (claim.says, claim.figure, f"{ARMS[claim.arm]} − {ARMS[claim.control]}")
        empty = dict.fromkeys(("all", "many", "tail", BEYOND), "")
        row = rows.setdefault(
            key, {"claim": claim.says, "figure": claim.figure, "arms": key[2], "expected": SIGNS[claim.sign]} | empty
        )
        row[claim.group] = cell(found)
    return list(rows.values())


def cell(found: Mapping[str, Any]) -> str:
    """The difference over seeds, the mean of both arms, and what follows."""
    sd = "" if found["sd"] is None else f" ± {found['sd']:.3f}"
    return f"{found['difference']:+.3f}{sd} ({found['ours']:.3f}, {found['theirs']:.3f}): {found['verdict']}"


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def render(page: str, records: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """The page with what stood between the marks replaced; ValueError without both marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n" + "".join(f"{section(*named)}\n\n" for named in records) + END + after


if __name__ == "__main__":
    found = [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(RESULTS.glob("*.json"))]
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(f"written: {PAGE}")
