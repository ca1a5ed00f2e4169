"""Post-hoc logit adjustment (Menon et al., ICLR 2021)."""

import math

import torch
from torch import Tensor

from tailwise.counts import absent
from tailwise.models import Network
from tailwise.posthoc.step import NEVER, Edited, PostHoc, Validation
from tailwise.priors import adjust
from tailwise.types import TailwiseError


def correction(carried_log_prior: Tensor, counts: Tensor, tau: float = 1.0) -> Tensor:
    """−τ log π_c (C,) float64, to be added to the logits: prediction becomes argmax f_c − τ log π_c.

    ``carried_log_prior`` (C,) is log π up to a constant, of the prior that the logits still carry; ``counts`` (C,) says
    which classes were absent from training: they get a large negative number. τ ≥ 0. See `tailwise.priors.adjust`.
    """
    carried = carried_log_prior.double()
    return adjust(torch.zeros_like(carried), tau * carried, absent=absent(counts)).clamp(min=NEVER)


class LogitAdjustment(PostHoc):
    """Subtracts τ log π from the classifier's bias; of any classifier, without validation samples.

    τ = 1, the default, is consistent for the balanced error. π is the prior that the logits still carry, so nothing is
    corrected twice: after an objective that has met the prior already, such as `LogitAdjusted` with τ = 1, it is zero
    and the step only rules out the classes that were absent. Afterwards the logits carry (1 − τ) log π.
    """

    def __init__(self, tau: float = 1.0) -> None:
        if not 0 <= tau < math.inf:
            raise TailwiseError(f"LogitAdjustment: tau must be at least 0 and finite, got {tau}")
        self.tau = tau

    @torch.no_grad()
    def __call__(self, network: Network, validation: Validation | None, counts: Tensor, carried_log_prior: Tensor) -> Edited:
        """See the class."""
        network.classifier.shift(correction(carried_log_prior, counts, self.tau))
        return Edited((1 - self.tau) * carried_log_prior.double(), {})
