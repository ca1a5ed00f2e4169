"""Calibration of the top prediction, overall and by shot group, and accuracy within the k best.

Shapes: labels (N,) int64, and for each of these samples its confidence (the top probability), its prediction (the class
that has it), and its rank (how many classes come before the true one). So no figure needs the N × C probabilities at
once. Samples labelled IGNORE are left out everywhere, and a figure over no sample is None.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tailwise.counts import Counts, as_counts, shot_groups, with_aliases
from tailwise.metrics.given import Numbers, numbers
from tailwise.types import IGNORE, TailwiseError


class Reliability(NamedTuple):
    """A reliability diagram: one entry per confidence bin, NaN where the bin is empty."""

    confidence: Tensor  # (bins,) float64 mean top probability
    accuracy: Tensor  # (bins,) float64 share of right predictions
    samples: Tensor  # (bins,) int64 how many lie in the bin


def reliability(confidence: Numbers, predictions: Numbers, labels: Numbers, bins: int = 15) -> Reliability:
    """Confidence against accuracy in equal-width bins of the confidence.

    ``confidence, predictions = probabilities.max(-1)``. Bin b of m holds ``b/m < confidence ≤ (b+1)/m`` (Guo et al., ICML
    2017). Raises `TailwiseError` for fewer than one bin and for a confidence outside [0, 1], which is most likely a logit.
    """
    if bins < 1:
        raise TailwiseError(f"reliability: at least one bin is needed, got {bins}")
    confidence, predictions = numbers(confidence, "reliability"), numbers(predictions, "reliability")
    labels = numbers(labels, "reliability").to(torch.int64)
    kept = labels != IGNORE
    confidence, right = confidence[kept].double(), (predictions == labels)[kept].double()
    if not bool(((confidence >= 0) & (confidence <= 1 + 1e-6)).all()):
        raise TailwiseError("reliability: confidence outside [0, 1]; give the largest softmax of the logits")
    inner = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1].to(confidence.device)
    bin_of = torch.bucketize(confidence, inner)
    samples = torch.bincount(bin_of, minlength=bins)
    return Reliability(
        confidence=torch.bincount(bin_of, confidence, minlength=bins) / samples,
        accuracy=torch.bincount(bin_of, right, minlength=bins) / samples,
        samples=samples,
    )


def ece(confidence: Numbers, predictions: Numbers, labels: Numbers, bins: int = 15) -> float | None:
    """Expected calibration error in [0, 1]: ``Σ_b (N_b / N) |accuracy_b − confidence_b|`` over `reliability`'s bins."""
    stated, accuracy, samples = reliability(confidence, predictions, labels, bins)
    if not bool(samples.any()):
        return None
    gap = (accuracy - stated).abs().nan_to_num()  # an empty bin has no weight
    return float((samples * gap).sum() / samples.sum())


@with_aliases
def ece_by_group(
    confidence: Numbers, predictions: Numbers, labels: Numbers, counts: Counts, bins: int = 15
) -> dict[str, float | None]:
    """`ece` over the samples whose true class is many-, medium- or few-shot by the training counts (C,), see `summary`."""
    confidence, predictions = numbers(confidence, "ece_by_group"), numbers(predictions, "ece_by_group")
    labels = numbers(labels, "ece_by_group").to(torch.int64)
    group_of = {name: mask[labels.clamp(min=0)] for name, mask in shot_groups(as_counts(counts)).items()}
    return {name: ece(confidence[own], predictions[own], labels[own], bins) for name, own in group_of.items()}


def ranks(logits: Numbers, labels: Numbers) -> Tensor:
    """How many of the C classes come before the true one, for logits (N, C): (N,) int64 in [0, C); 0 is the best.

    Among equal logits the lower class comes first, as in argmax. The rank of a sample labelled IGNORE says nothing.
    """
    logits = numbers(logits, "ranks")
    labels = numbers(labels, "ranks").to(torch.int64)[:, None].clamp(0, logits.shape[1] - 1)
    own = logits.gather(1, labels)
    lower = torch.arange(logits.shape[1], device=logits.device) < labels
    return ((logits > own) | ((logits == own) & lower)).sum(1)


def top_k_accuracy(ranks: Numbers, labels: Numbers, k: int) -> float | None:
    """Share of samples whose class is among the k best, by its `ranks` (N,); k = 1 is the accuracy of argmax.

    k above C is C. Raises `TailwiseError` for k below one.
    """
    if k < 1:
        raise TailwiseError(f"top-k accuracy: k must be at least 1, got {k}")
    ranks, labels = numbers(ranks, "top-k accuracy"), numbers(labels, "top-k accuracy").to(torch.int64)
    kept = ranks[labels != IGNORE]
    return float((kept < k).double().mean()) if kept.numel() else None
