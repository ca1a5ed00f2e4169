"""Judged runs by hand, for the tests of their pages."""

from typing import Any

import torch

from tailwise.data.source import Stacked
from tailwise.evaluate import Answers, result
from tailwise.metrics import multilabel_summary
from tailwise.report.evidence import Evidence, spread_over_groups
from tailwise.report.multilabel import Scored

HOSTILE = ["<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "{{ 7*7 }}", "a & b", "</title>", "ünïcode \ud800"]
CUNNING = ["n" * 10_000, "two words " * 1_000, "\u202egpj.exe", "a\nb\x00c\x1b[2J", "ש‏ל🦊👩‍👩‍👧", "../../etc/passwd"]
LOG = [{"step": i, "epoch": i, "loss_epoch": 2 / (i + 1), "val_balanced": 0.1 * i, "val_map": 0.08 * i} for i in range(6)]

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
    told = torch.where(torch.rand(len(labels), generator=g) < 0.1, labels, found)  # predict is right a little more often
    sure = (told == labels).double() * 0.4 + 0.3 + 0.1 * confidence
    answers = Answers(labels, found, confidence, (found != labels).long(), None, told, sure)
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
    return block, Evidence(labels, found, confidence, told, sure, shown, features, Stacked(pixels))


def called(logits: torch.Tensor, targets: torch.Tensor) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Precision, recall and F1 of each class at a logit of 0, and their means."""
    found, own, named = ((logits > 0) & targets).sum(0), targets.sum(0), (logits > 0).sum(0)
    f1 = 2 * found / (own + named).clamp(min=1)
    classes = [
        {"precision": float(hit) / int(n) if n else 0.0, "recall": float(hit) / int(of) if of else None, "f1": float(one)}
        for hit, of, n, one in zip(found, own, named, f1, strict=True)
    ]
    micro = 2 * float(found.sum()) / float((own + named).sum())
    return classes, {"macro_f1": float(f1.mean()), "micro_f1": micro, "predicted": float(named.sum()) / len(logits)}


def labelled(
    counts: torch.Tensor, names: list[str] | None = None, n: int = 120, seed: int = 0
) -> tuple[dict[str, Any], Scored]:
    """A result whose images have several labels, and its evidence; the last class is on no test image.

    The ``seed`` is that of the scores: the images stay the same.
    """
    classes, g = counts.numel(), torch.Generator().manual_seed(0)
    share = (counts / counts.max()).sqrt() * 0.5
    targets = torch.rand(n, classes, generator=g) < share.clamp(min=2 / n)
    targets[:, -1] = False
    g.manual_seed(seed)
    prior = (share / (1 - share)).log()
    logits = prior + torch.randn(n, classes, generator=g) + targets * (1.0 + 2 * share)
    names = names or [f"class {c}" for c in range(classes)]
    summary = multilabel_summary(logits, targets, counts)
    rows, means = called(logits, targets)
    _, taken_away = called(logits - prior, targets)
    columns = zip(names, counts.tolist(), targets.sum(0).tolist(), summary.pop("ap"), rows, strict=True)
    per_class = [{"name": name, "train": train, "test": test, "ap": ap, **row} for name, train, test, ap, row in columns]
    worst = min((row for row in per_class if row["ap"] is not None), key=lambda row: float(row["ap"]))
    block = {
        "recipe": "photos",
        "objective": "Asymmetric",
        "data": "photos.csv",
        "seed": 0,
        "epochs": 6,
        "task": "multilabel",
        "n_test": n,
        **summary,
        "per_class": per_class,
        "worst": {"name": worst["name"], "ap": worst["ap"]},
        "macro_f1": means["macro_f1"],
        "micro_f1": means["micro_f1"],
        "labels_per_image": {"train": 1.75, "test": float(targets.sum()) / n, "predicted": means["predicted"]},
        "gap": {group: None if summary[group] is None else 0.1 for group in ("map", "head", "medium", "tail")},
        "post_hoc": taken_away,
        "shipped": called(logits - 0.5 * prior, targets)[1],
        "best_epoch": {"epoch": 4, "map": 0.5, "split": "val"},
    }
    pixels = torch.randint(0, 256, (n, 3, 8, 8), generator=g, dtype=torch.uint8)
    return block, Scored(logits, targets, Stacked(pixels))


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
