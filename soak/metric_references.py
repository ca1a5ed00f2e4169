"""What tailwise prints beside what scikit-learn, SciPy or a plain loop says of the same labels."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import gmean, hmean
from sklearn import metrics as sk

from soak.label_sets import LabelSet
from tailwise import evaluate, losses, metrics
from tailwise.counts import log_prior, shot_groups
from tailwise.metrics.multilabel import thresholded
from tailwise.types import IGNORE

Figures = Sequence[float | None]
GROUPS: dict[str, Callable[[int], bool]] = {
    "many": lambda n: n > 100,
    "medium": lambda n: 20 <= n <= 100,
    "few": lambda n: n < 20,
}
BINS, DELTAS = 15, (0.0, 0.05, 0.5, 5.0)


def gap(ours: Figures, theirs: Figures) -> float:
    """The largest difference; inf where one is undefined (None or NaN) and the other is not."""
    a, b = (np.array([np.nan if v is None else v for v in side], dtype=np.float64) for side in (ours, theirs))
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return np.inf
    return float(np.nanmax(np.abs(a - b), initial=0.0)) if a.size and not np.isnan(a).all() else 0.0


def pairs(given: LabelSet) -> dict[str, tuple[Figures, Figures]]:
    """By name: the figures of tailwise and the reference's, None or NaN where undefined."""
    kept = given.labels != IGNORE
    labels, logits = given.labels[kept], given.logits[kept]
    truth, guess, classes = labels.numpy(), logits.argmax(1).numpy(), given.classes
    everyone, counts = list(range(classes)), given.counts.tolist()
    true, either = set(truth.tolist()), set(truth.tolist()) | set(guess.tolist())
    tally = metrics.tally(given.logits.argmax(1), given.labels, classes)
    found = evaluate.judge(
        given.logits,
        given.labels,
        given.counts,
        [str(c) for c in everyone],
        log_prior(given.counts),
        metrics.tally(*given.train, classes),
    )
    by_class = {name: [row[name] for row in found["per_class"]] for name in ("recall", "precision")}
    matrix = sk.confusion_matrix(truth, guess, labels=everyone)

    def score(of: Callable[..., Any], among: Iterable[int], average: str | None = None) -> Any:
        return of(truth, guess, labels=sorted(among), average=average, zero_division=0)

    def defined(of: Callable[..., Any], among: set[int]) -> list[float | None]:
        values = score(of, everyone)
        return [values[c] if c in among else None for c in everyone]

    def by_group(of: Callable[..., Any], among: set[int]) -> list[float | None]:
        inside = [{c for c in among if rule(counts[c])} for rule in GROUPS.values()]
        return [score(of, members, "macro") if members else None for members in inside]

    recall = score(sk.recall_score, true)
    f1, iou, masks = metrics.f1s(tally), metrics.ious(tally), shot_groups(given.counts)
    out: dict[str, tuple[Figures, Figures]] = {
        "hits, true and predicted counts": (tally.flatten().tolist(), [*matrix.diagonal(), *matrix.sum(1), *matrix.sum(0)]),
        "classes in each group": (
            list(found["classes_in_group"].values()),
            [sum(map(rule, counts)) for rule in GROUPS.values()],
        ),
        "accuracy": ([found["overall"]], [sk.accuracy_score(truth, guess)]),
        "balanced accuracy": ([found["balanced"]], [sk.balanced_accuracy_score(truth, guess)]),
        "recall by class": (by_class["recall"], defined(sk.recall_score, true)),
        "precision by class": (by_class["precision"], defined(sk.precision_score, either)),
        "F1 by class": (f1.tolist(), defined(sk.f1_score, either)),
        "recall by shot group": ([found[name] for name in GROUPS], by_group(sk.recall_score, true)),
        "F1 by shot group": ([metrics.group_mean(f1, mask) for mask in masks.values()], by_group(sk.f1_score, either)),
        "macro F1": ([found["macro_f1"]], [score(sk.f1_score, either, "macro")]),
        "IoU by class": (iou.tolist(), defined(sk.jaccard_score, either)),
        "mean IoU": ([metrics.group_mean(iou, torch.ones_like(iou).bool())], [score(sk.jaccard_score, either, "macro")]),
        "frequency-weighted IoU": ([metrics.frequency_weighted_iou(tally)], [score(sk.jaccard_score, everyone, "weighted")]),
        "lowest, harmonic and geometric mean recall": (
            [found["worst"]["recall"], found["harmonic"], found["geometric"]],
            [recall.min(), *((hmean(recall), gmean(recall)) if recall.min() else (0.0, 0.0))],
        ),
        "balanced accuracy without the prior": _without_prior(found, logits.numpy(), truth, given.counts.numpy()),
        "train minus test recall by group": _train_test(found, matrix, given),
        "worst-case accuracy": (
            [metrics.worst_case_accuracy(by_class["recall"], delta) for delta in DELTAS],
            [worst_case(recall, delta) for delta in DELTAS],
        ),
    }
    return out | _probabilities(found, logits, labels, given) | _several(given)


def _without_prior(found: dict[str, Any], logits: Any, truth: Any, counts: Any) -> tuple[Figures, Figures]:
    size = np.maximum(counts, 1)
    fair = np.where(counts > 0, logits - np.log(size / size.sum()), -np.inf).argmax(1)
    told = found["post_hoc"]  # none where the counts are equal
    return [told and told["balanced"]], [None if size.min() == size.max() else sk.balanced_accuracy_score(truth, fair)]


def _train_test(found: dict[str, Any], matrix: Any, given: LabelSet) -> tuple[Figures, Figures]:
    train = sk.confusion_matrix(given.train[1].numpy(), given.train[0].numpy(), labels=range(given.classes))
    both = [c for c in range(given.classes) if train[c].sum() and matrix[c].sum()]
    gaps = {c: train[c, c] / train[c].sum() - matrix[c, c] / matrix[c].sum() for c in both}
    rules = [lambda n: True, *GROUPS.values()]
    inside = [[gaps[c] for c in both if rule(int(given.counts[c]))] for rule in rules]
    return [found["gap"][name] for name in ("all", *GROUPS)], [float(np.mean(some)) if some else None for some in inside]


def worst_case(recall: Any, delta: float) -> float:
    """The dual of `metrics.worst_case_accuracy` at a uniform base: max over λ > 0 of −λ log mean e^(−r/λ) − λ δ."""
    if delta == 0:
        return float(np.mean(recall))

    def negative(log_lambda: float) -> float:
        scale = np.exp(log_lambda)
        return float(scale * (logsumexp(-(recall - recall.min()) / scale) - np.log(len(recall)) + delta))

    best = min(
        minimize_scalar(negative, bounds=(a, a + 8), method="bounded", options={"xatol": 1e-10}).fun
        for a in (-30, -22, -14, -6, 2)
    )
    return float(recall.min() + max(-best, 0.0))


def _probabilities(
    found: dict[str, Any], logits: torch.Tensor, labels: torch.Tensor, given: LabelSet
) -> dict[str, tuple[Figures, Figures]]:
    wide, truth, classes = logits.numpy(), labels.numpy(), given.classes
    p = np.exp(wide - logsumexp(wide, axis=1, keepdims=True))
    confidence, right = p.max(1), p.argmax(1) == truth
    by_group = [np.array([rule(int(given.counts[y])) for y in truth]) for rule in GROUPS.values()]
    told = [found["ece"][name] for name in ("all", *GROUPS)]
    ks = [k for k in (1, 2, 3, 5) if k < classes]
    ranks = metrics.ranks(logits, labels)
    best = np.argsort(-wide, 1)
    theirs = [
        sk.top_k_accuracy_score(truth, wide, k=k, labels=range(classes))
        if classes > 2
        else float((best[:, :k] == truth[:, None]).any(1).mean())
        for k in ks
    ]
    nll = float(losses.cross_entropy(logits, labels).mean())
    ties = np.round(wide[:60, :50])
    few = np.minimum(truth[:60], ties.shape[1] - 1)
    plain = [
        sorted(range(len(row)), key=lambda c: (-row[c], c)).index(y) for row, y in zip(ties.tolist(), few.tolist(), strict=True)
    ]
    return {
        "ECE, all and by shot group": (told, [_ece(confidence, right), *(_ece(confidence[m], right[m]) for m in by_group)]),
        "accuracy within the k best": ([metrics.top_k_accuracy(ranks, labels, k) for k in ks], theirs),
        "rank among equal logits": (metrics.ranks(torch.from_numpy(ties), torch.from_numpy(few)).tolist(), plain),
        "log loss": ([nll], [sk.log_loss(truth, p, labels=range(classes)) if classes > 1 else 0.0]),
    }


def _ece(confidence: Any, right: Any) -> float | None:
    total = 0.0
    for b in range(BINS):
        inside = [i for i, c in enumerate(confidence) if b / BINS < c <= (b + 1) / BINS]
        if inside:
            total += len(inside) * abs(
                sum(right[i] for i in inside) / len(inside) - sum(confidence[i] for i in inside) / len(inside)
            )
    return total / len(confidence) if len(confidence) else None


def _several(given: LabelSet) -> dict[str, tuple[Figures, Figures]]:
    """Of samples with several labels."""
    scores, targets = given.scores.numpy(), given.targets.numpy()
    counts = given.counts[: targets.shape[1]]
    told = metrics.multilabel_summary(given.scores, given.targets, counts)
    ap = [sk.average_precision_score(y, s) if y.any() else None for y, s in zip(targets.T, scores.T, strict=True)]
    inside = [
        [a for a, n in zip(ap, counts.tolist(), strict=True) if a is not None and rule(n)]
        for rule in (lambda n: True, *GROUPS.values())
    ]
    called = thresholded(given.scores, given.targets)
    some, wide = (scores > 0).any(0), ((0, 0), (0, 1))  # with an empty class more: of a single one scikit-learn makes two
    truth, calls = np.pad(targets, wide), np.pad(scores > 0, wide)
    p, r, f, true = sk.precision_recall_fscore_support(truth, calls, average=None, zero_division=0)
    either = [(c, bool(true[c]), bool(true[c] or some[c])) for c in range(len(some))]
    micro = sk.f1_score(truth, calls, average="micro", zero_division=0) if any(e for _, _, e in either) else None
    macro = [f[c] for c, _, e in either if e]
    return {
        "average precision by class": (told["ap"], ap),
        "mAP, all and by group": (
            [told[k] for k in ("map", "head", "medium", "tail")],
            [float(np.mean(v)) if v else None for v in inside],
        ),
        "precision, recall, F1 of several labels": (
            [*called["precision"], *called["recall"], *called["f1"]],
            [
                *(p[c] if e else None for c, _, e in either),
                *(r[c] if t else None for c, t, _ in either),
                *(f[c] if e else None for c, _, e in either),
            ],
        ),
        "macro and micro F1 of several labels": (
            [called["macro_f1"], called["micro_f1"]],
            [float(np.mean(macro)) if macro else None, micro],
        ),
    }
