"""Class weights by effective number, from the start or deferred, and the objectives that share them."""

from abc import ABC, abstractmethod
from fractions import Fraction

import torch
from torch import Tensor

from tailwise.counts import Counts, effective_number
from tailwise.losses.objective import Objective, require
from tailwise.types import Batch, Model, Output


def class_weights(counts: Tensor, beta: float) -> Tensor:
    """w_c ∝ (1 − β) / (1 − β^{n_c}), normalised to Σ w_c = C: (C,) float64 (Cui et al., CVPR 2019).

    β = 0 gives ones, which is no re-weighting; β → 1 gives the inverse counts. A class without samples weighs as one
    with a single sample. Raises `TailwiseError` for β outside [0, 1).
    """
    weights = 1 / effective_number(counts, beta)
    return weights * (weights.numel() / weights.sum())


def deferred(counts: Tensor, beta: float, share: float, epoch: int, epochs: int) -> Tensor:
    """Deferred re-weighting, DRW (Cao et al., NeurIPS 2019): ones (C,) while epoch < share · epochs, then `class_weights`.

    ``epoch`` counts from 0. The paper's 160 of 200 epochs are the share 0.8; 0 re-weights from the start, 1 never.
    """
    start = Fraction(share).limit_denominator(10**6) * epochs  # exact: 0.55 · 100 is 55, and not a little more
    return torch.ones_like(counts, dtype=torch.float64) if epoch < start else class_weights(counts, beta)


class Reweighted(Objective, ABC):
    """What weighs samples by their class: the weights, their schedule, and the prior that they leave.

    ``beta`` is that of `class_weights`, ``deferred`` the share of training before the weights set in.
    """

    mixed = False
    class_weight: Tensor

    def __init__(self, counts: Counts, model: Model, beta: float, deferred: float) -> None:
        super().__init__(counts, model)
        name = type(self).__name__
        require(0 <= beta < 1, f"{name}: beta must lie in [0, 1), got {beta}")
        require(0 <= deferred <= 1, f"{name}: deferred must be a share of training in [0, 1], got {deferred}")
        self.beta, self.deferred = beta, deferred
        self.register_buffer("class_weight", torch.ones_like(self.log_prior))
        self.on_epoch(0, 1)

    @property
    def carried_log_prior(self) -> Tensor:
        """log π_c w_c, normalised, with the weights of the present epoch: a sample of weight w counts as w samples."""
        return (self.log_prior + self.class_weight.log()).log_softmax(0)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """The weights of this epoch."""
        self.class_weight.copy_(deferred(self.counts, self.beta, self.deferred, epoch, epochs))

    @abstractmethod
    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """Named, weighted terms."""
