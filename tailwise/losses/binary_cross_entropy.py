"""A sigmoid for each class, for samples of several classes or none: the frame, and binary cross-entropy."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.objective import Objective, pointwise, require
from tailwise.losses.rows import by_rows
from tailwise.types import Batch, Model, Output

EDGE = 500.0
"""Logits that are looked at in search of those of an input that tells nothing."""


def log_odds(counts: Tensor, samples: int) -> Tensor:
    """b_c = log(n_c / (N − n_c)) (C,) float64, of n_c positives among N samples; both numbers are floored at one."""
    positive = counts.double()
    return positive.clamp(min=1).log() - (samples - positive).clamp(min=1).log()


def multi_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """Targets (M, C) of the type of the logits (M, C): as they are, or of one class for each sample (M,)."""
    return (F.one_hot(labels, logits.shape[1]) if labels.ndim == 1 else labels).to(logits.dtype)


@by_rows
def binary_cross_entropy(logits: Tensor, labels: Tensor, log_odds: Tensor, tau: float = 0.0) -> Tensor:
    """ℓ = Σ_c log(1 + e^(g_c)) − y_c g_c with g = f + τ b, per sample (M,).

    Logits (M, C), targets (M, C) in [0, 1] or one class each (M,), log odds b (C,), τ ≥ 0; τ = 0 is the plain loss.
    """
    shifted = logits + tau * log_odds.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(shifted, multi_hot(labels, logits), reduction="none").sum(1)


def indifferent(loss: Callable[[Tensor, Tensor], Tensor], counts: Tensor, samples: int) -> Tensor:
    """The logits (C,) float64 of an input that tells nothing: n_c ℓ'(f, 1) + (N − n_c) ℓ'(f, 0) = 0, by bisection.

    ``loss`` takes logits and targets (M, C), and no class minds the others. Binary cross-entropy gives the log odds. So does
    any loss of a class whose slope has no root within ± `EDGE`, as where it falls for ever: no logits are those of nothing.
    """
    size = torch.stack([counts, samples - counts]).clamp(min=1).double()
    targets = torch.zeros_like(size)
    targets[0] = 1
    high = torch.full_like(size[0], EDGE)
    low = -high
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(64):
            middle = (low + high) / 2
            logits = middle.expand_as(size).clone().requires_grad_()
            (slope,) = torch.autograd.grad(loss(logits, targets).sum(), logits)
            rising = (size * slope).sum(0) > 0
            low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
    return torch.where((low > -EDGE) & (high < EDGE), (low + high) / 2, log_odds(counts, samples))


class MultiLabel(Objective, ABC):
    """What judges every class by a sigmoid of its own; a subclass gives the loss of a sample, a sum over classes.

    Targets are (B, C), one for each class that the sample has, or one class per sample, IGNORE allowed. ``counts`` are
    positives per class, ``samples`` is N, how many samples there are: by default as many as labels, one each.
    """

    log_odds: Tensor

    def __init__(self, counts: Counts, model: Model, samples: int | None = None) -> None:
        super().__init__(counts, model)
        self.samples = int(self.counts.sum()) if samples is None else samples
        most, name = int(self.counts.max()), type(self).__name__
        require(self.samples >= most, f"{name}: a class has {most} positives among {self.samples} samples; give all samples")
        self.register_buffer("log_odds", log_odds(self.counts, self.samples).to(self.log_prior))

    @property
    def carried_log_prior(self) -> Tensor:
        """(C,) the log odds that deployed logits carry: the logits of an input that tells nothing, as the loss has them.

        See `indifferent`. ``priors.adjust`` takes them away and puts those of another population there.
        """
        return indifferent(self.values, self.counts, self.samples).to(self.log_prior)

    @abstractmethod
    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """ℓ (M,), for logits (M, C) and targets (M, C) or (M,)."""

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ}``."""
        logits, labels, weights = pointwise(out, batch)
        return {"cls": global_mean(self.values(logits, labels), weights)}


class BinaryCrossEntropy(MultiLabel):
    """Binary cross-entropy of each class, whose logits get τ b while training; prediction uses the bare logits.

    With τ = 0 the scores carry the log odds b of the classes, with τ = 1 nothing: logit adjustment of a sigmoid.
    """

    def __init__(self, counts: Counts, model: Model, tau: float = 0.0, samples: int | None = None) -> None:
        super().__init__(counts, model, samples)
        require(tau >= 0, f"BinaryCrossEntropy: tau must not be negative, got {tau}")
        self.tau = tau

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `binary_cross_entropy`."""
        return binary_cross_entropy(logits, labels, self.log_odds, self.tau)
