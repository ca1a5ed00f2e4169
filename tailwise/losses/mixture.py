"""The mathematics of GML: a Gaussian mixture likelihood per class, and distillation (Suh & Seo, ICML 2023)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from tailwise.kernels import ClassLSE, class_lse
from tailwise.losses.objective import full_precision
from tailwise.losses.rows import by_rows

Likelihood = Callable[[ClassLSE, Tensor, Tensor], Tensor]
"""From `mixture_sums`, labels (B,) and keys per class (C,) to −log p(y | x) per query (B,): `posterior` or `left_out`."""

COLDEST, HOTTEST = 1e-4, 1e4
"""Between them lies the temperature, wherever its parameter goes."""


class Mixture(NamedTuple):
    """The two terms of GML, per query (B,)."""

    contrast: Tensor  # trains the features alone
    temperature: Tensor  # trains the temperature alone


def posterior(lse: ClassLSE, labels: Tensor, filled: Tensor) -> Tensor:
    """−log p(y | x) per query (B,), from `mixture_sums` over the keys, of which class c has ``filled[c]``.

    It is LSE_k(s_k + b_k) − LSE_{k∈own}(s_k + b_k), and 0 for a query without a label or whose class has no key; a class
    without keys is absent from the mixture.
    """
    return _against_others(lse.others, lse.own_class(), labels, filled[labels.clamp(min=0)])


def left_out(lse: ClassLSE, labels: Tensor, filled: Tensor) -> Tensor:
    """`posterior` without the keys that were made from the query's own sample.

    Leaving out m keys shifts the own mixture by log(|Q_y| / (|Q_y| − m)); a query whose class has no other key gives 0.
    """
    slots = filled[labels.clamp(min=0)]
    left = slots - lse.itself_keys
    fewer = (slots.to(lse.own.dtype) / left.clamp(min=1)).clamp(min=1).log()
    return _against_others(lse.others, lse.own + fewer, labels, left)


def _against_others(others: Tensor, own: Tensor, labels: Tensor, keys: Tensor) -> Tensor:
    return -F.logsigmoid(own - others).masked_fill((keys < 1) | (labels < 0), 0.0)


def bounded(log_temperature: Tensor) -> Tensor:
    """T in `COLDEST` to `HOTTEST`, without a slope outside: one step that is too long would make it infinite."""
    return log_temperature.clamp(math.log(COLDEST), math.log(HOTTEST)).exp()


def mixture_sums(
    queries: Tensor,  # (B, d) unit rows
    labels: Tensor,  # (B,)
    index: Tensor,  # (B,)
    keys: Tensor,  # (K, d) unit rows, labelled
    key_labels: Tensor,  # (K,)
    key_index: Tensor,  # (K,)
    log_prior: Tensor,  # (C,)
    filled: Tensor,  # (C,) keys per class
    temperature: Tensor,  # ()
) -> ClassLSE:
    """Log-sum-exps of q·k / T + b_k with b_k = log π_c(k) − log |Q_c(k)|, so that the sum over a class's keys is π_c S_ic."""
    bias = (log_prior - filled.clamp(min=1).to(log_prior.dtype).log()).to(queries.dtype)[key_labels]
    return class_lse(queries, keys, bias, temperature, labels, key_labels, index, key_index)


@full_precision
def gaussian_mixture(
    queries: Tensor,  # as `mixture_sums`
    labels: Tensor,
    index: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    key_index: Tensor,
    log_prior: Tensor,
    filled: Tensor,
    log_temperature: Tensor,  # ()
    likelihood: Likelihood = posterior,
) -> Mixture:
    """Negative log-posterior of the label when each stored key is an isotropic Gaussian of variance T, twice::

        S_ic = log (1/|Q_c|) Σ_{k∈Q_c} e^(q_i·k / T),     −log p(y_i | q_i) = −log softmax_c(S_ic + log π_c)[y_i]

    ``contrast`` is the ``likelihood`` named, at a fixed temperature, and trains the features; ``temperature`` leaves the
    query's own keys out and trains T alone: a leave-one-out estimate of the variance. One pass over the keys serves both.
    """
    temperature = bounded(log_temperature)
    lse = mixture_sums(queries, labels, index, keys, key_labels, key_index, log_prior, filled, temperature.detach())
    variance = left_out(lse.of_temperature(temperature), labels, filled)
    return Mixture(likelihood(lse, labels, filled), variance)


@by_rows
def distillation(logits: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """T² KL(softmax(z'/T) ‖ softmax(z/T)) per sample (M,) for student z and teacher z' logits (M, C)."""
    student, target = (F.log_softmax(z / temperature, -1) for z in (logits, teacher))
    return temperature**2 * (target.exp() * (target - student)).sum(-1)
