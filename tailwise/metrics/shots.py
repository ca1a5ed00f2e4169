"""Accuracy by class and by shot group, all of it read from one confusion matrix.

One rule for classes that do not occur. Recall is undefined (NaN) for a class without a test sample. Precision of a
class that is never predicted is 0 when it has test samples and undefined when it has none. F1 is undefined only for a
class that is neither in truth nor in prediction. Means skip what is undefined, and a group without a defined class is
None, never 0. For classes that occur this is scikit-learn's ``zero_division=0``.
"""

from typing import Any

import torch
from torch import Tensor

from tailwise.counts import FEW, MANY, shot_groups, thirds
from tailwise.types import IGNORE, TailwiseError

EDGES = {"many": f"> {MANY}", "medium": f"{FEW} to {MANY}", "few": f"< {FEW}"}
"""The shot groups in words: training samples per class."""


def confusion(predictions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often class i (row, truth) was predicted as class j (column): (C, C) int64.

    Predictions and labels are whole numbers of equal shape, ``(N,)`` or with pixel axes. Samples labelled IGNORE are
    dropped. Raises `TailwiseError` for unequal shapes and for a class outside 0..C-1.
    """
    if predictions.shape != labels.shape:
        raise TailwiseError(
            f"confusion: predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} differ in shape; "
            "give one predicted class for each label"
        )
    kept = labels != IGNORE
    truth, guess = labels[kept].to(torch.int64), predictions[kept].to(torch.int64)
    for what, values in (("label", truth), ("prediction", guess)):
        outside = values[(values < 0) | (values >= classes)]
        if outside.numel():
            raise TailwiseError(f"confusion: {what} {int(outside[0])} is outside 0..{classes - 1}; check the classes")
    return torch.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def recalls(confusion: Tensor) -> Tensor:
    """Share of each class's samples that were found: (C,) float64 in [0, 1], NaN for a class without a sample."""
    return confusion.diagonal().double() / confusion.sum(1)


def precisions(confusion: Tensor) -> Tensor:
    """Share of each class's predictions that were right: (C,) float64 in [0, 1].

    A class that is never predicted has precision 0 when it has samples, NaN when it has none.
    """
    predicted, true = confusion.sum(0), confusion.sum(1)
    share = confusion.diagonal().double() / predicted
    return torch.where((predicted == 0) & (true > 0), 0.0, share)


def f1s(confusion: Tensor) -> Tensor:
    """F1 of each class, 2·hits / (true + predicted): (C,) float64 in [0, 1], NaN when neither true nor predicted."""
    return 2 * confusion.diagonal().double() / (confusion.sum(0) + confusion.sum(1))


def group_mean(values: Tensor, mask: Tensor) -> float | None:
    """Mean of the defined values (C,) of the classes in the mask (C,) bool; None when there is none."""
    defined = values[mask & ~values.isnan()]
    return float(defined.mean()) if defined.numel() else None


def _shares(values: Tensor) -> list[float | None]:
    """The values as a list, None in the place of NaN."""
    return [None if v != v else v for v in values.tolist()]


def summary(confusion: Tensor, counts: Tensor) -> dict[str, Any]:
    """Every figure that a confusion matrix (C, C) and the training counts (C,) give; shares in [0, 1].

    - ``overall``: accuracy. ``balanced``: mean recall over the classes that occur in the test set.
    - ``many``, ``medium``, ``few``: mean recall of the classes of a shot group (Liu et al., CVPR 2019), with the
      ``edges`` in training samples and ``classes_in_group``.
    - ``thirds``: the same for ``head``, ``middle`` and ``tail`` thirds of the classes by training count.
    - ``recall``, ``precision``: lists (C). ``worst``: the lowest recall and its ``class`` (the first of equals).
    - ``harmonic``, ``geometric``: means of the recalls, 0 as soon as one recall is 0.
    - ``macro_f1``: mean F1 over the classes in truth or prediction.

    What is undefined is None. Raises `TailwiseError` when the counts are not those of the C classes.
    """
    if counts.shape != confusion.shape[:1]:
        raise TailwiseError(
            f"summary: {counts.numel()} training counts for {confusion.shape[0]} classes; give one count per class"
        )
    recall = recalls(confusion)
    everyone, groups = torch.ones_like(counts, dtype=torch.bool), shot_groups(counts)
    seen = recall[~recall.isnan()]
    worst = int(recall.nan_to_num(nan=2.0).argmin()) if seen.numel() else None  # 2 is above any recall
    total = int(confusion.sum())
    return {
        "overall": int(confusion.diagonal().sum()) / total if total else None,
        "balanced": group_mean(recall, everyone),
        **{name: group_mean(recall, mask) for name, mask in groups.items()},
        "edges": dict(EDGES),
        "classes_in_group": {name: int(mask.sum()) for name, mask in groups.items()},
        "thirds": {name: group_mean(recall, mask) for name, mask in thirds(counts).items()},
        "recall": _shares(recall),
        "precision": _shares(precisions(confusion)),
        "worst": None if worst is None else {"class": worst, "recall": float(recall[worst])},
        # a recall of 0 makes its reciprocal inf and its logarithm −inf, and both means 0
        "harmonic": float(1 / (1 / seen).mean()) if seen.numel() else None,
        "geometric": float(seen.log().mean().exp()) if seen.numel() else None,
        "macro_f1": group_mean(f1s(confusion), everyone),
    }
