"""Figures of segmentation, all of them read from the `tally` (3, C) of all pixels of a data set: hits, true, predicted.

They are those of the whole data set, as papers report them: tallies of images add up, and figures are read from the sum.
(A mean over images is another number: in it, a class of ten pixels weighs as much in its image as the sky in others.)

One rule for classes that do not occur. IoU is undefined (NaN) for a class that is neither in truth nor in prediction, and
0 for one that is predicted but not in truth: false positives cost. Accuracy, a class's recall, is undefined without a true
pixel; precision is that of `tailwise.metrics.shots`. Means skip what is undefined, and a group without a defined class is
None, never 0. Over the classes in truth or prediction this is scikit-learn's ``jaccard_score`` of all pixels in one row.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.counts import Counts, as_counts, with_aliases
from tailwise.metrics.given import Numbers, numbers
from tailwise.metrics.shots import group_mean, precisions, recalls, tally
from tailwise.types import IGNORE, TailwiseError

EDGES = {"head": "at least 1/C", "medium": "1/(4C) to 1/C", "tail": "less than 1/(4C)"}
"""The groups in words: a class's share of the labelled training pixels, for C classes. 1/C is an equal share."""

TOLERANCE = 0.0075
"""How far a boundary may be off, as a share of the image's diagonal."""


def ious(tally: Numbers) -> Tensor:
    """Intersection over union of each class, hits / (true + predicted − hits): (C,) float64 in [0, 1].

    NaN for a class that is neither in truth nor in prediction, 0 for one that is only in one of them. Raises
    `TailwiseError` for what is no tally.
    """
    tally = numbers(tally, "ious")
    recalls(tally)  # refuses what is none
    hits, true, predicted = tally.unbind()
    return hits.double() / (true + predicted - hits)


def frequency_weighted_iou(tally: Numbers) -> float | None:
    """Σ_c (true_c / Σ true) · IoU_c, in [0, 1]; None without a true pixel."""
    tally = numbers(tally, "frequency_weighted_iou")
    true, total = tally[1], int(tally[1].sum())
    return float((true * ious(tally).nan_to_num()).sum() / total) if total else None


@with_aliases
def pixel_groups(counts: Counts) -> dict[str, Tensor]:
    """Masks (C,) bool of the head, medium and tail classes by training pixels (C,), with the `EDGES`; one may be empty."""
    counts = as_counts(counts)
    total, classes = counts.sum(), counts.numel()
    head, tail = counts * classes >= total, counts * 4 * classes < total  # in whole numbers: an edge is exact
    return {"head": head, "medium": ~head & ~tail, "tail": tail}


def boundary_tally(prediction: Numbers, truth: Numbers, classes: int, tolerance: int | None = None) -> Tensor:
    """How well the outlines of one image agree: (4, C) int64, which adds up over images; `boundary_f_scores` reads it.

    ``prediction`` and ``truth`` (H, W) int64. A pixel is on the boundary of its class when one of its four neighbours has
    another class. Rows: predicted boundary pixels with a true one of the class near, all predicted ones, true ones with a
    predicted one near, all true ones. Near is at most ``tolerance`` pixels away along each axis; without one, `TOLERANCE`
    of the diagonal, rounded, at least 1. Where the truth is IGNORE there are no pixels, so the edge of such a place is no
    boundary, nor is that of the image. Raises `TailwiseError` as `tally`, and for maps that are not (H, W).
    """
    prediction, truth = numbers(prediction, "boundary_tally"), numbers(truth, "boundary_tally")
    if truth.ndim != 2:
        raise TailwiseError(f"boundary_tally: truth {tuple(truth.shape)} is no map (H, W); give one image at a time")
    occurs = tally(prediction, truth, classes)[1:].sum(0)
    prediction, truth = prediction.to(torch.int64), truth.to(torch.int64)
    if tolerance is None:
        tolerance = max(round(TOLERANCE * math.hypot(*truth.shape)), 1)
    predicted, true = _outline(prediction.where(truth != IGNORE, IGNORE)), _outline(truth)
    rows = torch.zeros(4, classes, dtype=torch.int64, device=truth.device)
    for c in occurs.nonzero()[:, 0].tolist():  # one at a time: (C, H, W) would be large, and few classes occur
        mine, own = predicted == c, true == c
        near_own, near_mine = _widened(own, tolerance), _widened(mine, tolerance)
        rows[:, c] = torch.stack([(mine & near_own).sum(), mine.sum(), (own & near_mine).sum(), own.sum()])
    return rows


def _outline(classes: Tensor) -> Tensor:
    """The map (H, W) with IGNORE wherever a pixel is not on the boundary of its class."""
    on = torch.zeros_like(classes, dtype=torch.bool)
    for axis in (0, 1):
        n = classes.shape[axis] - 1
        one, next_to_it = classes.narrow(axis, 0, n), classes.narrow(axis, 1, n)
        differ = (one != next_to_it) & (one != IGNORE) & (next_to_it != IGNORE)
        on.narrow(axis, 0, n).logical_or_(differ)
        on.narrow(axis, 1, n).logical_or_(differ)
    return classes.where(on, IGNORE)


def _widened(mask: Tensor, by: int) -> Tensor:
    """Every pixel (H, W) within ``by`` of the mask along both axes; a square is a row of columns."""
    side = 2 * by + 1
    column = F.max_pool2d(mask[None].float(), (side, 1), stride=1, padding=(by, 0))
    return F.max_pool2d(column, (1, side), stride=1, padding=(0, by))[0] > 0


def boundary_f_scores(tally: Numbers) -> Tensor:
    """Boundary F-score 2PR / (P + R) of each class (C,) float64 from the sum of `boundary_tally` (4, C) over images.

    P is the share of predicted boundary pixels near a true one, R of true ones near a predicted one (Csurka et al., BMVC
    2013, who average over images instead). NaN for a class without a boundary in truth and prediction, 0 with one in
    only one of them.
    """
    near_true, predicted, near_predicted, true = numbers(tally, "boundary_f_scores").double().unbind()
    precision, recall = near_true / predicted.clamp(min=1), near_predicted / true.clamp(min=1)
    score = 2 * precision * recall / (precision + recall).clamp(min=torch.finfo(torch.float64).tiny)
    return score.where(predicted + true > 0, torch.nan)


@with_aliases
def segmentation_summary(
    tally: Numbers, counts: Counts, names: Sequence[str], boundary: Numbers | None = None
) -> dict[str, Any]:
    """Every figure of a data set's `tally` (3, C), with the training pixels (C,) and the class names, as plain JSON values.

    - ``pixel_accuracy``; ``miou``, ``mean_accuracy``, ``mean_precision``: means over classes; ``frequency_weighted_iou``.
    - ``groups``: for ``head``, ``medium``, ``tail`` (`pixel_groups`) their ``classes``, ``miou``, ``accuracy`` and
      ``precision``; ``edges`` says which classes are in them.
    - ``per_class``: name, ``group``, ``share`` of the training pixels, ``test`` pixels, ``iou``, ``accuracy``,
      ``precision``. ``worst``: name and IoU of the class of lowest IoU, the first of equals.
    - ``boundary``, from the sum of `boundary_tally` (4, C) if it is given: ``boundary_f``, the mean, and one per class.

    Shares lie in [0, 1]. What is undefined is None, never NaN and never 0. Raises `TailwiseError` when the counts or the
    names are not those of the C classes.
    """
    tally, counts = numbers(tally, "segmentation_summary"), as_counts(counts)
    iou, accuracy, precision = ious(tally), recalls(tally), precisions(tally)
    for what, given in (("training counts", counts.numel()), ("class names", len(names))):
        if given != iou.numel():
            raise TailwiseError(f"segmentation_summary: {given} {what} for {iou.numel()} classes; give one per class")
    counts = counts.to(tally.device)
    groups, everyone = pixel_groups(counts), torch.ones_like(counts, dtype=torch.bool)
    columns = {
        "share": counts.double() / counts.sum().clamp(min=1),
        "test": tally[1],
        "iou": iou,
        "accuracy": accuracy,
        "precision": precision,
        **({} if boundary is None else {"boundary_f": boundary_f_scores(boundary)}),
    }
    per_class = [
        {"name": name, "group": next(group for group, mask in groups.items() if mask[c])}
        | {key: None if (value := column[c].item()) != value else value for key, column in columns.items()}
        for c, name in enumerate(names)
    ]
    seen = [row for row in per_class if row["iou"] is not None]
    worst = min(seen, key=lambda row: float(row["iou"] or 0), default=None)
    total = int(tally[1].sum())
    return {
        "pixel_accuracy": int(tally[0].sum()) / total if total else None,
        "miou": group_mean(iou, everyone),
        "frequency_weighted_iou": frequency_weighted_iou(tally),
        "mean_accuracy": group_mean(accuracy, everyone),
        "mean_precision": group_mean(precision, everyone),
        **({} if boundary is None else {"boundary_f": group_mean(columns["boundary_f"], everyone)}),
        "groups": {
            group: {
                "classes": int(mask.sum()),
                "miou": group_mean(iou, mask),
                "accuracy": group_mean(accuracy, mask),
                "precision": group_mean(precision, mask),
            }
            for group, mask in groups.items()
        },
        "edges": dict(EDGES),
        "per_class": per_class,
        "worst": None if worst is None else {"name": worst["name"], "iou": worst["iou"]},
    }
