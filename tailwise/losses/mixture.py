"""The mathematics of GML: a Gaussian mixture likelihood per class, and distillation (Suh & Seo, ICML 2023)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.kernels import class_lse
from tailwise.losses.objective import full_precision


class Posterior(NamedTuple):
    """−log p(y | x) per query (B,) under the class-wise mixtures; 0 where the query's class has no key that counts."""

    kept: Tensor  # every key takes part
    left_out: Tensor  # without the keys that were made from the query's own sample


class Mixture(NamedTuple):
    """The two terms of GML, per query (B,)."""

    contrast: Tensor  # every key takes part; the temperature is detached
    temperature: Tensor  # leave-one-out; the features are detached


@full_precision
def posterior(
    queries: Tensor,  # (B, d) unit rows
    labels: Tensor,  # (B,)
    index: Tensor,  # (B,)
    keys: Tensor,  # (K, d) unit rows, labelled
    key_labels: Tensor,  # (K,)
    key_index: Tensor,  # (K,)
    log_prior: Tensor,  # (C,)
    filled: Tensor,  # (C,) keys per class
    temperature: Tensor,  # ()
) -> Posterior:
    """Negative log-posterior of the label when each stored key is an isotropic Gaussian of variance T::

        S_ic = log (1/|Q_c|) Σ_{k∈Q_c} e^(q_i·k / T),     −log p(y_i | q_i) = −log softmax_c(S_ic + log π_c)[y_i]

    computed as LSE_k(s_k + b_k) − LSE_{k∈own}(s_k + b_k) with b_k = log π_{c(k)} − log |Q_{c(k)}|. A class without keys
    is absent from the mixture. Leaving out m own keys shifts the own mixture by log(|Q_y| / (|Q_y| − m)).
    """
    own = labels.clamp(min=0)
    slots = filled[own]
    bias = (log_prior - filled.clamp(min=1).to(log_prior.dtype).log()).to(queries.dtype)[key_labels]
    lse = class_lse(queries, keys, bias, temperature, labels, key_labels, index, key_index)
    left = slots - lse.itself_keys
    fewer = slots.clamp(min=1).to(queries.dtype).log() - left.clamp(min=1).to(queries.dtype).log()

    def against_others(own_class: Tensor, keys_left: Tensor) -> Tensor:
        return (torch.logaddexp(lse.others, own_class) - own_class).masked_fill((keys_left < 1) | (labels < 0), 0.0)

    return Posterior(against_others(lse.own_class(), slots), against_others(lse.own + fewer, left))


def gaussian_mixture(
    queries: Tensor,  # as `posterior`
    labels: Tensor,
    index: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    key_index: Tensor,
    log_prior: Tensor,
    filled: Tensor,
    log_temperature: Tensor,  # ()
) -> Mixture:
    """`posterior` twice: ``contrast`` keeps the query's own keys and trains the features at a fixed temperature;

    ``temperature`` leaves them out and trains T alone, which makes T a leave-one-out estimate of the variance.
    """
    of_keys, temperature = (key_labels, key_index, log_prior, filled), log_temperature.exp()
    contrast = posterior(queries, labels, index, keys, *of_keys, temperature.detach()).kept
    variance = posterior(queries.detach(), labels, index, keys.detach(), *of_keys, temperature).left_out
    return Mixture(contrast, variance)


@full_precision
def distillation(logits: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """T² KL(softmax(z'/T) ‖ softmax(z/T)) per sample (M,) for student z and teacher z' logits (M, C)."""
    student, target = (F.log_softmax(z / temperature, -1) for z in (logits, teacher))
    return temperature**2 * (target.exp() * (target - student)).sum(-1)
