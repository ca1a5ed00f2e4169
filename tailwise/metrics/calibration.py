"""Calibration of the top prediction, overall and by shot group, and accuracy within the k best.

Shapes: probabilities and logits (N, C), labels (N,) int64. Samples labelled IGNORE are left out everywhere, and a
figure over no sample is None.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tailwise.counts import shot_groups
from tailwise.types import IGNORE, TailwiseError


class Reliability(NamedTuple):
    """A reliability diagram: one entry per confidence bin, NaN where the bin is empty."""

    confidence: Tensor  # (bins,) float64 mean top probability
    accuracy: Tensor  # (bins,) float64 share of right predictions
    samples: Tensor  # (bins,) int64 how many lie in the bin


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Confidence against accuracy in equal-width bins of the top probability.

    Bin b of m holds ``b/m < max_c p_c ≤ (b+1)/m`` (Guo et al., ICML 2017). Raises `TailwiseError` for fewer than one
    bin and for probabilities outside [0, 1], which are most likely logits.
    """
    if bins < 1:
        raise TailwiseError(f"reliability: at least one bin is needed, got {bins}")
    kept = labels != IGNORE
    probabilities, labels = probabilities[kept].double(), labels[kept]
    if not bool(((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all()):
        raise TailwiseError("reliability: probabilities outside [0, 1]; give the softmax of the logits")
    confidence, predicted = probabilities.max(dim=-1)
    inner = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1].to(confidence.device)
    bin_of = torch.bucketize(confidence, inner)
    samples = torch.bincount(bin_of, minlength=bins)
    return Reliability(
        confidence=torch.bincount(bin_of, confidence, minlength=bins) / samples,
        accuracy=torch.bincount(bin_of, (predicted == labels).double(), minlength=bins) / samples,
        samples=samples,
    )


def ece(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float | None:
    """Expected calibration error in [0, 1]: ``Σ_b (N_b / N) |accuracy_b − confidence_b|`` over `reliability`'s bins."""
    confidence, accuracy, samples = reliability(probabilities, labels, bins)
    if not bool(samples.any()):
        return None
    gap = (accuracy - confidence).abs().nan_to_num()  # an empty bin has no weight
    return float((samples * gap).sum() / samples.sum())


def ece_by_group(probabilities: Tensor, labels: Tensor, counts: Tensor, bins: int = 15) -> dict[str, float | None]:
    """`ece` over the samples whose true class is many-, medium- or few-shot by the training counts (C,)."""
    group_of = {name: mask[labels.clamp(min=0)] for name, mask in shot_groups(counts).items()}
    return {name: ece(probabilities[own], labels[own], bins) for name, own in group_of.items()}


def top_k_accuracy(logits: Tensor, labels: Tensor, k: int) -> float | None:
    """Share of samples whose class is among the k largest of the C logits; k above C is C.

    Among equal logits the lower class comes first, so that k = 1 is the accuracy of argmax. Raises `TailwiseError` for
    k below one.
    """
    if k < 1:
        raise TailwiseError(f"top-k accuracy: k must be at least 1, got {k}")
    kept = labels != IGNORE
    logits, labels = logits[kept], labels[kept, None]
    own = logits.gather(1, labels)
    before = torch.arange(logits.shape[1], device=logits.device) < labels
    rank = ((logits > own) | ((logits == own) & before)).sum(1)
    return float((rank < min(k, logits.shape[1])).double().mean()) if labels.numel() else None
