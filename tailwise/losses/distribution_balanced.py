"""The distribution-balanced loss for several labels per sample (Wu et al., ECCV 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.counts import Counts
from tailwise.losses.binary_cross_entropy import MultiLabel, indifferent, multi_hot
from tailwise.losses.objective import require
from tailwise.losses.rows import by_rows
from tailwise.types import Model


def rebalanced_weights(targets: Tensor, counts: Tensor, alpha: float, beta: float, mu: float) -> Tensor:
    """r̂ (M, C), for targets (M, C) and positives n (C,), zero counts as one; α ≥ 0, β > 0::

        r_c = (1 / n_c) / Σ_{j: y_j = 1} 1 / n_j        r̂_c = α + σ(β (r_c − μ))

    Where y_c = 1, r_c is how often sampling by classes draws the sample on account of c, of all its draws. A sample
    without a label has r = ∞.
    """
    share = 1 / counts.clamp(min=1).to(targets.dtype)
    drawn = (targets * share).sum(1, keepdim=True)
    ratio = torch.where(drawn > 0, share / drawn, torch.inf)
    return alpha + torch.sigmoid(beta * (ratio - mu))


def negative_tolerant(logits: Tensor, targets: Tensor, log_odds: Tensor, negative_scale: float, kappa: float) -> Tensor:
    """y log(1 + e^(−g)) + (1 − y) log(1 + e^(λ g)) / λ with g = f + κ b, (M, C), for logits, targets (M, C), b (C,).

    λ > 1, the ``negative_scale``, lets a negative rest once its logit is a little below 0; κ ≥ 0 lowers the logits of
    rare classes while training. λ = 1, κ = 0 is binary cross-entropy.
    """
    shifted = logits + kappa * log_odds.to(logits.dtype)
    return targets * F.softplus(-shifted) + (1 - targets) * F.softplus(negative_scale * shifted) / negative_scale


@by_rows
def distribution_balanced(
    logits: Tensor,  # (M, C)
    labels: Tensor,  # (M, C) in {0, 1} or one class each (M,)
    counts: Tensor,  # (C,) positives
    log_odds: Tensor,  # (C,)
    alpha: float,
    beta: float,
    mu: float,
    negative_scale: float,
    kappa: float,
) -> Tensor:
    """ℓ = Σ_c r̂_c ℓ_c per sample (M,), r̂ the `rebalanced_weights` and ℓ_c the `negative_tolerant` loss."""
    targets = multi_hot(labels, logits)
    weights = rebalanced_weights(targets, counts, alpha, beta, mu)
    return (weights * negative_tolerant(logits, targets, log_odds, negative_scale, kappa)).sum(1)


class DistributionBalanced(MultiLabel):
    """Weights that know which labels come together, and negatives that may rest.

    Defaults are what the authors train COCO-MLT with: α = 0.1, β = 10, μ = 0.2, λ = 2, κ = 0.025; VOC-MLT has μ = 0.3, λ = 5,
    κ = 0.01. Both of their configurations say 0.05, which their code divides by λ: a mistake, as they write in issue 8 of
    wutong16/DistributionBalancedLoss, that made κ so much smaller. Both also draw samples by classes, have a focal factor
    2 (1 − p_t)², p_t the probability of the target after λ and κ, and take the mean over classes, here it is the sum.
    """

    def __init__(
        self,
        counts: Counts,
        model: Model,
        alpha: float = 0.1,
        beta: float = 10.0,
        mu: float = 0.2,
        negative_scale: float = 2.0,
        kappa: float = 0.025,
        samples: int | None = None,
    ) -> None:
        super().__init__(counts, model, samples)
        require(min(alpha, kappa) >= 0, "DistributionBalanced: alpha and kappa must not be negative")
        require(min(beta, negative_scale) > 0, "DistributionBalanced: beta and negative_scale must be positive")
        self.alpha, self.beta, self.mu, self.negative_scale, self.kappa = alpha, beta, mu, negative_scale, kappa

    @property
    def carried_log_prior(self) -> Tensor:
        """As in `MultiLabel`, of the negative-tolerant loss alone: what the weights move depends on which labels meet."""
        options = self.log_odds, self.negative_scale, self.kappa
        return indifferent(lambda f, y: negative_tolerant(f, y, *options), self.counts, self.samples).to(self.log_prior)

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `distribution_balanced`."""
        weights = self.alpha, self.beta, self.mu
        return distribution_balanced(logits, labels, self.counts, self.log_odds, *weights, self.negative_scale, self.kappa)
