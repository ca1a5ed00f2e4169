"""Average precision where a sample has several labels or none, by class and by group of classes.

Shapes: N samples, C classes; scores (N, C), of any kind that ranks samples, and targets (N, C) of zeros and ones. A class
without a positive sample is undefined: NaN in a tensor, left out of a mean, and a mean over no class is None.
"""

from typing import Any

import torch
from torch import Tensor

from tailwise.counts import Counts, as_counts, shot_groups, with_aliases
from tailwise.metrics.given import Numbers, numbers
from tailwise.metrics.shots import EDGES, group_mean
from tailwise.types import TailwiseError

GROUPS = {"many": "head", "medium": "medium", "few": "tail"}
"""The shot groups of `counts.shot_groups`, as the multi-label benchmarks call them."""


def average_precisions(scores: Numbers, targets: Numbers) -> Tensor:
    """AP_c = Σ_k (R_k − R_{k−1}) P_k over the thresholds k that occur among the scores: (C,) float64, NaN without positives.

    P_k and R_k are precision and recall of all samples at or above the threshold, equal scores together; nothing is
    interpolated. Scores (N, C), targets (N, C) in {0, 1}. Raises `TailwiseError` for other shapes, targets or NaN scores.
    """
    scores, targets = numbers(scores, "average precision"), numbers(targets, "average precision")
    if scores.ndim != 2 or scores.shape != targets.shape:
        shapes = f"{tuple(scores.shape)} and targets {tuple(targets.shape)}"
        raise TailwiseError(f"average precision: scores {shapes}; give both as (samples, classes)")
    if not bool(((targets == 0) | (targets == 1)).all()):
        raise TailwiseError("average precision: targets other than 0 and 1; give an indicator for each sample and class")
    if bool(scores.isnan().any()):
        raise TailwiseError("average precision: scores that are not a number; the model may have diverged")
    return torch.stack([_one(*pair) for pair in zip(scores.unbind(1), targets.unbind(1), strict=True)])


def _one(scores: Tensor, targets: Tensor) -> Tensor:
    """The same of one class: (N,) and (N,) to a scalar."""
    ranked, order = scores.sort(descending=True)
    hits = targets[order].double().cumsum(0)
    last = torch.cat([ranked[1:] != ranked[:-1], ranked.new_ones(min(len(ranked), 1), dtype=torch.bool)])
    ends = last.nonzero()[:, 0]  # of each run of equal scores
    found = hits[ends]
    return (found.diff(prepend=found.new_zeros(1)) * found / (ends + 1)).sum() / targets.sum()


@with_aliases
def multilabel_summary(scores: Numbers, targets: Numbers, counts: Counts) -> dict[str, Any]:
    """Mean average precision in [0, 1], over all classes and by group, of scores and targets (N, C); counts as in `summary`.

    - ``map``: the mean over the classes with a positive sample.
    - ``head``, ``medium``, ``tail``: the same of the classes with > 100, 20 to 100, and < 20 training positives (C,), with
      the ``edges`` in words and ``classes_in_group``; the groups of Wu et al., ECCV 2020.
    - ``ap``: a list (C).

    What is undefined is None. Raises `TailwiseError` as `average_precisions`, and when there is not one count per class.
    """
    ap, counts = average_precisions(scores, targets), as_counts(counts)
    if counts.shape != ap.shape:
        raise TailwiseError(f"multilabel summary: {counts.numel()} training counts for {ap.numel()} classes; give one each")
    groups = {GROUPS[name]: mask.to(ap.device) for name, mask in shot_groups(counts).items()}
    return {
        "map": group_mean(ap, torch.ones_like(ap, dtype=torch.bool)),
        **{name: group_mean(ap, mask) for name, mask in groups.items()},
        "edges": {GROUPS[name]: words for name, words in EDGES.items()},
        "classes_in_group": {name: int(mask.sum()) for name, mask in groups.items()},
        "ap": [None if value != value else value for value in ap.tolist()],
    }


BINS, REACH = 1024, 16.0
"""Of a histogram of logits: equal bins from −`REACH` to `REACH`, the outer ones open."""


def histograms(logits: Tensor, targets: Tensor) -> Tensor:
    """How the logits (N, C) of negatives and positives are spread: (2, C, `BINS`) int64, of several batches the sum.

    What `binned_average_precisions` needs, in memory that does not grow with N. Targets (N, C) in {0, 1}.
    """
    classes = logits.shape[1]
    bins = ((logits.float() / REACH + 1) * (BINS / 2)).floor().nan_to_num(0).clamp(0, BINS - 1).to(torch.int64)
    cells = (targets.to(torch.int64) * classes + torch.arange(classes, device=logits.device)) * BINS + bins
    return torch.bincount(cells.flatten(), minlength=2 * classes * BINS).view(2, classes, BINS)


def binned_average_precisions(histogram: Tensor) -> Tensor:
    """`average_precisions` (C,) of what `histograms` has counted; exact but for logits of one bin, which count as equal."""
    negatives, positives = histogram.flip(-1).double()
    found = positives.cumsum(-1)
    precision: Tensor = found / (found + negatives.cumsum(-1)).clamp(min=1)
    ap: Tensor = (positives * precision).sum(-1) / found[:, -1]
    return ap


def thresholded(logits: Tensor, targets: Tensor, threshold: float | Tensor = 0.0) -> dict[str, Any]:
    """What calling every class whose logit is above the threshold (a number, or (C,)) amounts to, for logits (N, C).

    ``precision``, ``recall`` and ``f1`` are lists (C), ``macro_f1`` the mean of the defined ones, ``micro_f1`` that of all
    calls together, ``predicted`` the mean number of classes that are called of a sample. Precision is 0 where a class with
    samples is never called; what is undefined is None.
    """
    called, there = logits > threshold, targets > 0
    hits, calls, true = ((called & there).sum(0).double(), called.sum(0).double(), there.sum(0).double())
    shares = {
        "precision": torch.where((calls == 0) & (true > 0), 0.0, hits / calls),
        "recall": hits / true,
        "f1": 2 * hits / (calls + true),
    }
    total = float(calls.sum() + true.sum())
    return {
        **{name: [None if v != v else v for v in values.tolist()] for name, values in shares.items()},
        "macro_f1": group_mean(shares["f1"], torch.ones_like(hits, dtype=torch.bool)),
        "micro_f1": 2 * float(hits.sum()) / total if total else None,
        "predicted": float(calls.sum()) / len(logits),
    }
