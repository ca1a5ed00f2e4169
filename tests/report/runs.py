"""Judged runs by hand, for the tests of their pages."""

from typing import Any

import torch

from tailwise.data.source import Stacked
from tailwise.evaluate import Answers, result
from tailwise.report.evidence import Evidence, spread_over_groups

HOSTILE = ["<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "{{ 7*7 }}", "a & b", "</title>", "ünïcode \ud800"]
LOG = [{"step": i, "epoch": i, "loss_epoch": 2 / (i + 1), "val_balanced": 0.1 * i} for i in range(6)]

COUNTS = torch.tensor([300, 150, 60, 30, 10, 3])


def judged(
    counts: torch.Tensor, names: list[str] | None = None, each: int = 8, side: int = 8, mapped: int = 200
) -> tuple[dict[str, Any], Evidence]:
    """A result and its evidence: classes of ``each`` images, the frequent ones recognised more often."""
    classes, g = counts.numel(), torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(each)
    hit = torch.rand(len(labels), generator=g) < 0.2 + 0.7 * counts[labels] / counts.max()
    found = torch.where(hit, labels, (labels + torch.randint(1, 4, labels.shape, generator=g)) % classes)
    confidence = torch.rand(len(labels), generator=g).double()
    answers = Answers(labels, found, confidence, (found != labels).long(), None)
    names = names or [f"class {c}" for c in range(classes)]
    block = {
        "recipe": "digits_lt/la",
        "objective": "LogitAdjusted",
        "data": "digits",
        "seed": 0,
        **result(answers, counts, names),
    }
    shown = spread_over_groups(labels, counts, mapped)
    features = torch.randn(len(shown), 6, generator=g)
    pixels = torch.randint(0, 256, (len(labels), 3, side, side), generator=g, dtype=torch.uint8)
    return block, Evidence(labels, found, confidence, shown, features, Stacked(pixels))


def run_of(seed: int, balanced: float, **more: Any) -> dict[str, Any]:
    groups = {"many": balanced + 0.1, "medium": balanced, "few": None}
    sizes = {
        "edges": {"many": "> 100", "medium": "20 to 100", "few": "< 20"},
        "classes_in_group": {"many": 1, "medium": 1, "few": 0},
    }
    return {
        "seed": seed,
        "balanced": balanced,
        **groups,
        **sizes,
        "worst": {"name": "c", "recall": 0.1},
        "seconds": 9.0,
        **more,
    }
