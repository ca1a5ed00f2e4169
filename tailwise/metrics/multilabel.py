"""Average precision where a sample has several labels or none, by class and by group of classes.

Shapes: N samples, C classes; scores (N, C), of any kind that ranks samples, and targets (N, C) of zeros and ones. A class
without a positive sample is undefined: NaN in a tensor, left out of a mean, and a mean over no class is None.
"""

from typing import Any

import torch
from torch import Tensor

from tailwise.counts import shot_groups
from tailwise.metrics.shots import EDGES, group_mean
from tailwise.types import TailwiseError

GROUPS = {"many": "head", "medium": "medium", "few": "tail"}
"""The shot groups of `counts.shot_groups`, as the multi-label benchmarks call them."""


def average_precisions(scores: Tensor, targets: Tensor) -> Tensor:
    """AP_c = Σ_k (R_k − R_{k−1}) P_k over the thresholds k that occur among the scores: (C,) float64, NaN without positives.

    P_k and R_k are precision and recall of all samples at or above the threshold, equal scores together; nothing is
    interpolated. Scores (N, C), targets (N, C) in {0, 1}. Raises `TailwiseError` for other shapes, targets or NaN scores.
    """
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


def multilabel_summary(scores: Tensor, targets: Tensor, counts: Tensor) -> dict[str, Any]:
    """Mean average precision in [0, 1], over all classes and by group, of scores and targets (N, C).

    - ``map``: the mean over the classes with a positive sample.
    - ``head``, ``medium``, ``tail``: the same of the classes with > 100, 20 to 100, and < 20 training positives (C,), with
      the ``edges`` in words and ``classes_in_group``; the groups of Wu et al., ECCV 2020.
    - ``ap``: a list (C).

    What is undefined is None. Raises `TailwiseError` as `average_precisions`, and when there is not one count per class.
    """
    ap = average_precisions(scores, targets)
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
