"""What was asked for, and whether the tables of one machine show it: met, missed and why, or untested."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from benchmarks.measure import Row

GML = "GML's contrast, forward and backward of both branches"
BCL = "BCL, forward and backward"
VIEWS = "Small pictures, three views"
FILES = "JPEG files"
BEGIN = "start-up"
METRICS, REPORT = "figures of a result against samples", "report of a run against classes"
PARTS = "the benchmark itself"
TRITON = "Triton, B, K, C, d"
SMALL_CASE, CASE, WIDE_CASE, LARGE_CASE = (
    {"B, K, C, d": sizes}
    for sizes in ("128, 4096, 100, 32", "128, 16384, 1000, 128", "128, 16384, 8142, 1024", "1024, 262144, 8142, 128")
)
TRITON_CASE = {"what": "triton", "dtype": "torch.bfloat16"}
INAT = {"B, C, d": "256, 8142, 128"}
GML_VIEWS = {"views": "cifar_autoaugment (GML)"}
BCL_VIEWS = {"views": "cifar_autoaugment, simaugment, simaugment (BCL)"}
CROPPED, CROPPED_RAND = {"transform": "crop, flip"}, {"transform": "crop, flip, RandAugment"}
IMPORT = {"what": "import tailwise, beyond import torch"}
FIRST = {"what": "tailwise fit digits, from the command to its first loss"}
"""How titles of tables begin, and cells that tell rows apart."""

OVERHEAD = "at two threads about 1.9 of 3.3 ms is overhead of small operations and of autograd"
KEPT = "three (B, K) buffers rather than one: shares of the sums are kept for the backward pass"
ONE_POLICY = (
    "kornia draws one AutoAugment policy and one order of jitter for a whole batch; "
    "against one for each picture, as ours has, see `picture by picture` below"
)
DECODING = "Pillow decodes for both: 1.2 ms a picture of our 1.6, of 2.5 with RandAugment"
"""Reasons, found by profiling."""


class Target(NamedTuple):
    """A limit for one cell of one table, found by the beginning of its title and some of its row's cells."""

    what: str
    table: str
    row: Mapping[str, object]
    column: str
    asked: Literal["≥", "≤", "<"]
    limit: float
    unit: str
    why: str = ""  # the reason, should it be missed

    def cell(self, tables: Mapping[str, list[Row]]) -> float | None:
        """The figure; None where the tables do not hold it."""
        rows = (row for title, rows in tables.items() if title.startswith(self.table) for row in rows)
        found = [row.get(self.column) for row in rows if self.row.items() <= row.items()]
        return found[0] if found and isinstance(found[0], int | float) else None

    def met(self, figure: float) -> bool:
        """Whether the figure is within the limit."""
        return {"≥": figure >= self.limit, "≤": figure <= self.limit, "<": figure < self.limit}[self.asked]


TARGETS = (
    Target("GML, 128, 4096, 100, 32: dense transcription / ours", GML, SMALL_CASE, "dense / ours", "≥", 4, "×", OVERHEAD),
    Target("the same: extra memory, one (B, K) matrix at most", GML, SMALL_CASE, "extra MiB", "≤", 2, " MiB", KEPT),
    Target("GML, 128, 16384, 1000, 128: dense transcription / ours", GML, CASE, "dense / ours", "≥", 6, "×"),
    Target("the same: ours / floor", GML, CASE, "ours / floor", "≤", 2, "×"),
    Target("GML, 128, 16384, 8142, 1024: dense transcription / ours", GML, WIDE_CASE, "dense / ours", "≥", 15, "×"),
    Target("the same: ours / floor", GML, WIDE_CASE, "ours / floor", "≤", 1.5, "×"),
    Target("GML, 1024, 262144, 8142, 128, no (B, K) buffer: ours / floor", GML, LARGE_CASE, "ours / floor", "≤", 2.2, "×"),
    Target("the same: extra memory", GML, LARGE_CASE, "extra MiB", "<", 64, " MiB"),
    Target("the same, Triton in bf16 on a GPU: ours / floor", TRITON, TRITON_CASE, "times the floor", "≤", 2, "×"),
    Target("BCL, 256, 8142, weights: dense transcription / ours (of a GPU)", BCL, INAT, "weights dense / ours", "≥", 100, "×"),
    Target("the same, whole (of a GPU)", BCL, INAT, "dense / ours", "≥", 3, "×"),
    Target("three views of GML: ours / torchvision on Pillow", VIEWS, GML_VIEWS, "ours / Pillow", "≥", 5, "×"),
    Target("the same: ours / kornia", VIEWS, GML_VIEWS, "ours / kornia", "≥", 5, "×", ONE_POLICY),
    Target("three views of BCL: ours / torchvision on Pillow", VIEWS, BCL_VIEWS, "ours / Pillow", "≥", 5, "×"),
    Target("the same: ours / kornia", VIEWS, BCL_VIEWS, "ours / kornia", "≥", 5, "×", ONE_POLICY),
    Target("JPEG files, crop and flip: ours / timm's loader", FILES, CROPPED, "ours / timm", "≥", 1, "×", DECODING),
    Target("the same with RandAugment", FILES, CROPPED_RAND, "ours / timm", "≥", 1, "×", DECODING),
    Target("`import tailwise`, over torch", BEGIN, IMPORT, "seconds", "<", 0.3, " s"),
    Target("`tailwise fit digits`, from command to first loss", BEGIN, FIRST, "seconds", "<", 6, " s"),
    Target("metrics, 8142 classes, 500,000 predictions", METRICS, {"x": 500_000}, "seconds", "<", 1, " s"),
    Target("report, 8142 classes", REPORT, {"x": 8142}, "seconds", "<", 10, " s"),
    Target("the whole benchmark", PARTS, {"part": "all"}, "seconds", "≤", 600, " s"),
)


def verdicts(tables: Mapping[str, list[Row]]) -> list[Row]:
    """A row for each target: what was asked, what was measured, and what that means."""
    rows: list[Row] = []
    for target in TARGETS:
        figure = target.cell(tables)
        row: Row = {"target": target.what, "asked": f"{target.asked} {target.limit:g}{target.unit}"}
        if figure is None:
            rows.append(row | {"measured": "n/a", "verdict": "untested", "why": ""})
        else:
            met = target.met(figure)
            said = {"verdict": "met" if met else "**missed**", "why": "" if met else target.why}
            rows.append(row | {"measured": f"{figure:.3g}{target.unit}", **said})
    return rows
