"""Accuracy under the worst shift of the class distribution (Wei et al., ICLR 2023)."""

import torch
from torch import Tensor

from tailwise.metrics.given import Numbers, numbers
from tailwise.types import TailwiseError

STEEPEST = 1e300
"""A tilt at which only the worst classes have weight, whatever the accuracies."""


def worst_case_accuracy(recall: Numbers, delta: float, base: Numbers | None = None) -> float | None:
    """δ-worst-case accuracy, min Σ_c g_c r_c over distributions g with D(g‖u) = Σ g_c log(g_c / u_c) ≤ δ, in [0, 1].

    - ``recall`` (C,): r_c, NaN where undefined; those classes are left out.
    - ``delta`` ≥ 0: 0 is the mean under u, and from −log u(the worst classes) on it is the lowest recall.
    - ``base`` (C,): u up to a factor, not negative; None for uniform.

    The minimum is at g ∝ u exp(−β r) for the largest β at which the constraint holds. D grows with β, so β is found by
    bisection, to the last bit. None where no class with weight has a recall. Raises `TailwiseError` for δ < 0 and for
    a base of another length, negative, or not finite.
    """
    if not delta >= 0:
        raise TailwiseError(f"worst-case accuracy: delta must not be negative, got {delta}")
    recall = numbers(recall, "worst-case accuracy")
    u = torch.ones_like(recall, dtype=torch.float64) if base is None else numbers(base, "worst-case accuracy").double()
    if u.shape != recall.shape or not bool(((u >= 0) & u.isfinite()).all()):
        raise TailwiseError(f"worst-case accuracy: give a base weight, 0 or more, for each of {recall.numel()} classes")
    kept = ~recall.isnan() & (u > 0)
    if not bool(kept.any()):
        return None
    accuracy, log_u = recall[kept].double(), u[kept].log().log_softmax(0)
    if delta == 0:  # of a small β the divergence rounds to 0
        return float((log_u.exp() * accuracy).sum())
    excess = accuracy - accuracy.min()

    def tilted(beta: float) -> Tensor:
        return (log_u - beta * excess).log_softmax(0)

    def divergence(beta: float) -> float:
        log_g = tilted(beta)
        return float(torch.where(log_g > -torch.inf, log_g.exp() * (log_g - log_u), 0.0).sum())

    low, high = 0.0, 1.0
    while high < STEEPEST and divergence(high) <= delta:
        low, high = high, high * 16
    while high < STEEPEST and low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if divergence(middle) <= delta else (low, middle)
    return float((tilted(low).exp() * accuracy).sum())
