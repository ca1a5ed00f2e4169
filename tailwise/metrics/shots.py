"""Accuracy by class and by shot group, all of it read from three numbers per class: a tally.

One rule for classes that do not occur. Recall is undefined (NaN) for a class without a test sample. Precision of a
class that is never predicted is 0 when it has test samples and undefined when it has none. F1 is undefined only for a
class that is neither in truth nor in prediction. Means skip what is undefined, and a group without a defined class is
None, never 0. For classes that occur this is scikit-learn's ``zero_division=0``.
"""

from typing import Any

import torch
from torch import Tensor

from tailwise.counts import FEW, MANY, Counts, as_counts, shot_groups, thirds, with_aliases
from tailwise.metrics.given import Numbers, numbers
from tailwise.types import IGNORE, TailwiseError

EDGES = {"many": f"> {MANY}", "medium": f"{FEW} to {MANY}", "few": f"< {FEW}"}
"""The shot groups in words: training samples per class."""


def tally(predictions: Numbers, labels: Numbers, classes: int) -> Tensor:
    """How often each class was found, occurs, and was predicted: (3, C) int64, the rows hits, true and predicted.

    Predictions and labels are whole numbers of equal shape, ``(N,)`` or with pixel axes, in tensors, arrays or lists.
    Samples labelled IGNORE are dropped. Tallies of parts of the data add up. Time and memory are O(N + C), no (C, C) matrix
    is built. Raises `TailwiseError` for unequal shapes, for numbers that are not whole, and for a class outside 0..C-1.
    """
    predictions, labels = numbers(predictions, "tally"), numbers(labels, "tally")
    if predictions.shape != labels.shape:
        raise TailwiseError(
            f"tally: predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} differ in shape; "
            "give one predicted class for each label"
        )
    for what, values in (("labels", labels), ("predictions", predictions)):
        if values.is_floating_point() or values.is_complex():
            raise TailwiseError(f"tally: {what} are {values.dtype}; give the numbers of classes, such as logits.argmax(-1)")
    labels = labels.to(torch.int64)  # first: in eight bits IGNORE is 156
    kept = labels != IGNORE
    truth, guess = labels[kept], predictions[kept].to(torch.int64)
    for what, values in (("label", truth), ("prediction", guess)):
        outside = values[(values < 0) | (values >= classes)]
        if outside.numel():
            raise TailwiseError(f"tally: {what} {int(outside[0])} is outside 0..{classes - 1}; check the classes")
    return torch.stack([torch.bincount(of, minlength=classes) for of in (truth[truth == guess], truth, guess)])


def _rows(tally: Numbers) -> tuple[Tensor, Tensor, Tensor]:
    """Hits, true and predicted, (C,) each; raises unless there are answers with just these numbers.

    There are when no class has more hits than truths or predictions, and the rest can be paired without a hit: as many
    missed truths as wrong predictions in all, of each class no more than the other classes can pair with. So a confusion
    matrix of three classes is refused, unless it is a tally of other answers as well.
    """
    tally = numbers(tally, "metrics")
    if tally.ndim != 2 or len(tally) != 3:
        raise TailwiseError(
            f"metrics: a tally has the shape (3, classes), got {tuple(tally.shape)}; make it with metrics.tally"
        )
    hits, true, predicted = tally
    missed, wrong = true - hits, predicted - hits
    total = missed.sum()
    if not bool(((hits >= 0) & (missed >= 0) & (wrong >= 0) & (missed + wrong <= total)).all() & (wrong.sum() == total)):
        raise TailwiseError(
            "metrics: these are no hits, true and predicted counts of any answers (a confusion matrix of three classes, "
            "perhaps); make them with metrics.tally"
        )
    return hits, true, predicted


def recalls(tally: Numbers) -> Tensor:
    """Share of each class's samples that were found: (C,) float64 in [0, 1], NaN for a class without a sample."""
    hits, true, _ = _rows(tally)
    return hits.double() / true


def precisions(tally: Numbers) -> Tensor:
    """Share of each class's predictions that were right: (C,) float64 in [0, 1].

    A class that is never predicted has precision 0 when it has samples, NaN when it has none.
    """
    hits, true, predicted = _rows(tally)
    return torch.where((predicted == 0) & (true > 0), 0.0, hits.double() / predicted)


def f1s(tally: Numbers) -> Tensor:
    """F1 of each class, 2·hits / (true + predicted): (C,) float64 in [0, 1], NaN when neither true nor predicted."""
    hits, true, predicted = _rows(tally)
    return 2 * hits.double() / (true + predicted)


def group_mean(values: Tensor, mask: Tensor) -> float | None:
    """Mean of the defined values (C,) of the classes in the mask (C,) bool; None when there is none."""
    defined = values[mask & ~values.isnan()]
    return float(defined.mean()) if defined.numel() else None


def _shares(values: Tensor) -> list[float | None]:
    """The values as a list, None in the place of NaN."""
    return [None if v != v else v for v in values.tolist()]


@with_aliases
def summary(tally: Numbers, counts: Counts) -> dict[str, Any]:
    """Every figure that a `tally` (3, C) and the training counts (C,) give; shares in [0, 1].

    The counts come in any form of `tailwise.counts.as_counts`, also as ``class_counts`` or ``cls_num_list``.

    - ``overall``: accuracy. ``balanced``: mean recall over the classes that occur in the test set.
    - ``many``, ``medium``, ``few``: mean recall of the classes of a shot group (Liu et al., CVPR 2019), with the
      ``edges`` in training samples and ``classes_in_group``.
    - ``thirds``: the same for ``head``, ``middle`` and ``tail`` thirds of the classes by training count.
    - ``recall``, ``precision``: lists (C). ``worst``: the lowest recall and its ``class`` (the first of equals).
    - ``harmonic``, ``geometric``: means of the recalls, 0 as soon as one recall is 0.
    - ``macro_f1``: mean F1 over the classes in truth or prediction.

    What is undefined is None. Raises `TailwiseError` when the counts are not those of the C classes.
    """
    counts, (hits, true, _) = as_counts(counts), _rows(tally)
    if counts.shape != true.shape:
        raise TailwiseError(f"summary: {counts.numel()} training counts for {true.numel()} classes; give one count per class")
    recall = recalls(tally)
    everyone, groups = torch.ones_like(counts, dtype=torch.bool), shot_groups(counts)
    seen = recall[~recall.isnan()]
    worst = int(recall.nan_to_num(nan=2.0).argmin()) if seen.numel() else None  # 2 is above any recall
    total = int(true.sum())
    return {
        "overall": int(hits.sum()) / total if total else None,
        "balanced": group_mean(recall, everyone),
        **{name: group_mean(recall, mask) for name, mask in groups.items()},
        "edges": dict(EDGES),
        "classes_in_group": {name: int(mask.sum()) for name, mask in groups.items()},
        "thirds": {name: group_mean(recall, mask) for name, mask in thirds(counts).items()},
        "recall": _shares(recall),
        "precision": _shares(precisions(tally)),
        "worst": None if worst is None else {"class": worst, "recall": float(recall[worst])},
        # a recall of 0 makes its reciprocal inf and its logarithm −inf, and both means 0
        "harmonic": float(1 / (1 / seen).mean()) if seen.numel() else None,
        "geometric": float(seen.log().mean().exp()) if seen.numel() else None,
        "macro_f1": group_mean(f1s(tally), everyone),
    }
