"""Four regularisers of the embedding's spread, interchangeable inside ELM. Each maps anchors and keys to Ω per anchor.

Rows are unit vectors, s = z_i · z_k, D = ‖z_i − z_k‖ = √(2 − 2 s). P(i) are the keys of the anchor's class except the
anchor itself, Q(i) the keys of other classes. Ω is 0 where P(i) is empty.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.losses.objective import require
from tailwise.losses.options import check_numbers


class Pairs(NamedTuple):
    """Anchors against keys, and which pairs count."""

    anchors: Tensor  # (M, d) unit rows
    keys: Tensor  # (K, d) unit rows
    labels: Tensor  # (M,)
    key_labels: Tensor  # (K,)
    positive: Tensor  # (M, K) bool: same class, not the anchor itself
    negative: Tensor  # (M, K) bool: another class
    same: Tensor  # (M, K) bool: the anchor itself
    counts: Tensor  # (C,) training samples per class


class EmbeddingTerm:
    """Ω (M,) from `Pairs`; its numbers are checked as options are."""

    def __post_init__(self) -> None:
        check_numbers(type(self).__name__, vars(self))
        temperature = vars(self).get("temperature", 1)
        require(temperature > 0, f"{type(self).__name__}: temperature must be positive, got {temperature}")

    def __call__(self, pairs: Pairs) -> Tensor:
        raise NotImplementedError


def _mean(values: Tensor, members: Tensor) -> Tensor:
    """Row means over the members; 0 for a row without any."""
    return (values * members).sum(1) / members.sum(1).clamp(min=1)


def _anchored(omega: Tensor, pairs: Pairs) -> Tensor:
    return omega.masked_fill(~pairs.positive.any(1), 0.0)


@dataclass(frozen=True)
class LogTriplet(EmbeddingTerm):
    """Ω_i = mean_{p∈P} log(1 + Σ_{n∈Q} exp((s_in − s_ip)/T + τ log(π_{y_n} / π_{y_i}))), the shape of a logit margin."""

    temperature: float = 0.1
    tau: float = 0.0

    def __call__(self, pairs: Pairs) -> Tensor:
        log_count = pairs.counts.clamp(min=1).to(pairs.anchors.dtype).log()
        margin = self.tau * (log_count[pairs.key_labels] - log_count[pairs.labels][:, None])
        scores = pairs.anchors @ pairs.keys.T / self.temperature
        away = torch.logsumexp((scores + margin).masked_fill(~pairs.negative, -1e30), dim=1)
        return _anchored(_mean(F.softplus(away[:, None] - scores), pairs.positive), pairs)


@dataclass(frozen=True)
class PairHinge(EmbeddingTerm):
    """Ω_i = mean_{p∈P} [D_ip − r⁺_y]₊^q + mean_{n∈Q} [r⁻ − D_in]₊^q with r⁺_y = r₀ (n_y / n_max)^shrink.

    ``shrink`` = 1/4 gives tail classes the smaller ball, 0 all the same. A ``power`` q < 1 has an infinite slope at the edge.
    """

    inner: float = 0.5
    outer: float = 1.2
    power: float = 1.0
    shrink: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.power <= 16, f"PairHinge: power must lie in [1, 16], got {self.power}")
        fits = min(self.inner, self.outer, self.shrink) >= 0 and max(self.inner, self.outer) <= 2
        require(fits, "PairHinge: inner and outer are distances of unit rows, in [0, 2]; shrink is not negative")

    def __call__(self, pairs: Pairs) -> Tensor:
        floor = torch.finfo(pairs.anchors.dtype).eps  # the root's slope stays finite for equal rows
        distance = (2 - 2 * pairs.anchors @ pairs.keys.T).clamp(min=floor).sqrt()
        size = pairs.counts.clamp(min=1).to(distance.dtype)
        radius = (self.inner * (size / size.max()) ** self.shrink)[pairs.labels]
        pull = (distance - radius[:, None]).clamp(min=0) ** self.power
        push = (self.outer - distance).clamp(min=0) ** self.power
        return _anchored(_mean(pull, pairs.positive) + _mean(push, pairs.negative), pairs)


@dataclass(frozen=True)
class WeightedSupCon(EmbeddingTerm):
    """Ω_i = mean_{p∈P} [log Σ_{k≠i} exp(s_ik/T) − s_ip/T], supervised contrast; ELM brings the weights."""

    temperature: float = 0.1

    def __call__(self, pairs: Pairs) -> Tensor:
        scores = pairs.anchors @ pairs.keys.T / self.temperature
        rest = pairs.positive | pairs.negative
        every = torch.logsumexp(scores.masked_fill(~rest, -1e30), dim=1)
        return _anchored(every - _mean(scores, pairs.positive), pairs)


@dataclass(frozen=True)
class CentreSpread(EmbeddingTerm):
    """Ω_i = ‖z_i − μ_y‖², μ_y the mean of the class's keys, the anchor's own included, outside the graph."""

    def __call__(self, pairs: Pairs) -> Tensor:
        own = pairs.positive | pairs.same
        centre = (own.to(pairs.keys.dtype) @ pairs.keys / own.sum(1, keepdim=True).clamp(min=1)).detach()
        return _anchored((pairs.anchors - centre).square().sum(1), pairs)
