"""Vector scaling, VS (Kini et al., NeurIPS 2021), and class-dependent temperatures, CDT (Ye et al., 2020)."""

from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.objective import Objective, pointwise, require
from tailwise.losses.rows import by_rows
from tailwise.types import Batch, Model, Output

HOTTEST = 1e20
"""The largest factor that a class's scores are divided by."""


def temperatures(counts: Tensor, gamma: float) -> Tensor:
    """Δ_c = (n_max / n_c)^γ (C,) float64, at least 1; zero counts as one."""
    size = counts.clamp(min=1).double()
    return (size.max() / size) ** gamma


def check_temperatures(counts: Tensor, gamma: float, name: str) -> None:
    """Refuse a γ with which a class has no score left."""
    most = float(temperatures(counts, gamma).max())
    require(most <= HOTTEST, f"{name}: gamma {gamma} gives the rarest class the temperature {most:.0e}; lower it")


@by_rows
def vector_scaling(logits: Tensor, labels: Tensor, log_prior: Tensor, counts: Tensor, gamma: float, tau: float) -> Tensor:
    """ℓ = cross-entropy of f_c / Δ_c + τ log π_c, per sample (M,), for logits (M, C), labels (M,), log prior, counts (C,).

    Every logit is divided by the factor of its own class, whatever the label; see `label_temperature` for the other way.
    γ = 0 is logit adjustment, τ = 0 is CDT, both are cross-entropy.
    """
    return logit_adjusted(logits / temperatures(counts, gamma).to(logits.dtype), labels, log_prior, tau)


class VS(Objective):
    """Cross-entropy with multiplicative (γ) and additive (τ) adjustment of the logits; prediction uses the bare logits.

    Defaults γ = 0.3, τ = 1. The authors' example for CIFAR-10-LT has γ = 0.2, τ = 1.2; a tuned value of others is
    γ = 0.05, τ = 1.
    """

    mixed = False

    def __init__(self, counts: Counts, model: Model, gamma: float = 0.3, tau: float = 1.0) -> None:
        super().__init__(counts, model)
        require(min(gamma, tau) >= 0, f"{type(self).__name__}: gamma and tau must not be negative, got {gamma} and {tau}")
        check_temperatures(self.counts, gamma, type(self).__name__)
        self.gamma, self.tau = gamma, tau

    @property
    def carried_log_prior(self) -> Tensor:
        """(1 − τ) Δ_c (log π_c − a) with a the mean of log π weighted by Δ²; 0 for τ = 1, and (1 − τ) log π + const for γ = 0.

        The loss fixes f_c = Δ_c (log p(c|x) − τ log π_c + k(x)). Gradients sum to zero when weighted by Δ, so Σ Δ_c f_c
        stays 0 in a linear classifier that starts there: this fixes k, and with it what a prior adds to each logit.
        """
        factor, prior = temperatures(self.counts, self.gamma), self.log_prior.double()
        share = factor.square() / factor.square().sum()
        return ((1 - self.tau) * factor * (prior - (share * prior).sum())).to(self.log_prior.dtype)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ}``."""
        logits, labels, weights = pointwise(out, batch)
        values = vector_scaling(logits, labels, self.log_prior, self.counts, self.gamma, self.tau)
        return {"cls": global_mean(values, weights)}


class CDT(VS):
    """Class-dependent temperatures alone: `VS` with τ = 0."""

    def __init__(self, counts: Counts, model: Model, gamma: float = 0.3) -> None:
        super().__init__(counts, model, gamma, tau=0.0)
