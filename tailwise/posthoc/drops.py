"""DROPS: a distributionally robust post-hoc classifier (Wei et al., ICLR 2023, "… under Prior Shifts")."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tailwise.counts import absent
from tailwise.models import Network
from tailwise.posthoc.step import NEVER, Edited, PostHoc, Validation, labelled
from tailwise.priors import adjust
from tailwise.types import TailwiseError


class Weights(NamedTuple):
    """The class weights that DROPS ends with."""

    log_g: Tensor  # (C,) float64, −inf where u is 0
    divergence: float  # D(g‖u)
    multiplier: float  # λ


def class_losses(logits: Tensor, labels: Tensor, log_alpha: Tensor) -> Tensor:
    """L_c (C,): mean of −log p_c over the samples of class c, for p_c ∝ α_c softmax(f)_c; NaN for a class without any.

    Logits (N, C), labels (N,) int64, log α (C,); a class with log α = −inf is in no p.
    """
    losses = -(logits + log_alpha).log_softmax(-1).gather(1, labels[:, None]).squeeze(1)
    empty = losses.new_zeros(log_alpha.shape)
    return empty.index_add(0, labels, losses) / empty.index_add(0, labels, torch.ones_like(losses))


def worst_weights(losses: Tensor, log_u: Tensor, multiplier: float) -> Tensor:
    """log g (C,) for g_c ∝ u_c exp(L_c / λ): the maximum of Σ g_c L_c − λ D(g‖u) over distributions g.

    A class whose loss is not known (NaN) keeps its share u_c, and the others divide theirs; so does one with u_c = 0.
    """
    known = ~losses.isnan() & (log_u > -torch.inf)
    if not bool(known.any()):
        return log_u
    tilted = log_u[known] + losses[known] / multiplier
    return log_u.masked_scatter(known, tilted.log_softmax(0) + log_u[known].logsumexp(0))


def divergence(log_g: Tensor, log_u: Tensor) -> float:
    """D(g‖u) = Σ g_c log(g_c / u_c) ≥ 0; classes with u_c = 0 have g_c = 0 and add nothing."""
    inside = log_u > -torch.inf
    return float((log_g[inside].exp() * (log_g[inside] - log_u[inside])).sum())


def drops(
    logits: Tensor,
    labels: Tensor,
    log_prior: Tensor,
    log_u: Tensor,
    delta: float = 0.9,
    iterations: int = 25,
    rate: float = 10.0,
    decay: float = 0.95,
    floor: float = 1.0,
) -> Weights:
    """The weights g of min over α, max over D(g‖u) ≤ δ, of Σ_c g_c L_c(α), with α_c = g_c / π_c.

    From g = u and λ = 1, ``iterations`` times: L = `class_losses` of α; g ∝ u exp(L / λ); λ ← max(λ + η (D(g‖u) − δ),
    floor), η ← decay · η. With δ = 0 the ball is a point, g = u, and for a uniform u the prediction argmax f_c + log α_c
    is post-hoc logit adjustment. Logits (N, C), labels (N,) without IGNORE, log π and log u (C,), all float64.

    The defaults are those of the published command. With them its λ turns negative in the first steps, where the
    formula for g no longer means anything: ``floor``, which is ours, keeps it positive. At λ = 1 a change of
    log α_c moves L_c / λ by no more than itself; below, the iterate can overshoot and end with all weight on one class.
    """
    log_g, multiplier = log_u, 1.0
    for _ in range(iterations if delta > 0 else 0):
        log_g = worst_weights(class_losses(logits, labels, log_g - log_prior), log_u, multiplier)
        multiplier = max(multiplier + rate * (divergence(log_g, log_u) - delta), floor)
        rate *= decay
    return Weights(log_g, divergence(log_g, log_u), multiplier)


class Drops(PostHoc):
    """Adds log α_c = log g_c − log π_c to the classifier's bias, with g by `drops` on the validation samples.

    The aim is the δ-worst-case accuracy, `tailwise.metrics.worst_case.worst_case_accuracy`. u is uniform over the
    classes that occurred in training; the others are never predicted. A class without a validation sample keeps
    g_c = u_c, which is plain logit adjustment. π is the prior that the logits still carry; afterwards they carry g.
    The published headline figures are unverified, and the one-step variant, which trains with g, is not here.
    """

    reads_validation = True

    def __init__(
        self, delta: float = 0.9, iterations: int = 25, rate: float = 10.0, decay: float = 0.95, floor: float = 1.0
    ) -> None:
        for name, value, least in (("delta", delta, 0.0), ("iterations", iterations, 1), ("rate", rate, 0.0)):
            if not least <= value < math.inf:
                raise TailwiseError(f"Drops: {name} must be at least {least} and finite, got {value}")
        for name, value, most in (("decay", decay, 1.0), ("floor", floor, 1.0)):
            if not 0 < value <= most:
                raise TailwiseError(f"Drops: {name} must lie in (0, 1], got {value}")
        self.delta, self.iterations, self.rate, self.decay, self.floor = delta, iterations, rate, decay, floor

    @torch.no_grad()
    def __call__(self, network: Network, validation: Validation | None, counts: Tensor, carried_log_prior: Tensor) -> Edited:
        """See the class."""
        seen = labelled(validation, "Drops: needs held-out samples to weigh the classes by; set data.validation above 0")
        excluded, log_prior = absent(counts).cpu(), carried_log_prior.double().cpu()
        log_u = torch.zeros_like(log_prior).masked_fill(excluded, -torch.inf).log_softmax(0)
        options = self.delta, self.iterations, self.rate, self.decay, self.floor
        found = drops(seen.logits, seen.labels, log_prior, log_u, *options)
        log_alpha = adjust(torch.zeros_like(log_prior), log_prior, found.log_g, excluded)
        network.classifier.shift(log_alpha.clamp(min=NEVER))
        carried = found.log_g.masked_fill(excluded, float(found.log_g[~excluded].min()))
        return Edited(carried, {"divergence": found.divergence, "lambda": found.multiplier})
