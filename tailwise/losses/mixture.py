"""The mathematics of GML: a Gaussian mixture likelihood per class, and distillation (Suh & Seo, ICML 2023)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.kernels import class_lse
from tailwise.losses.objective import full_precision


class Mixture(NamedTuple):
    """Per query (B,): −log p(y | x) under the class-wise mixtures, for the features and for the temperature."""

    contrast: Tensor  # every key takes part; the temperature is detached
    temperature: Tensor  # leave-one-out; the features are detached


@full_precision
def gaussian_mixture(
    queries: Tensor,  # (B, d) unit rows
    labels: Tensor,  # (B,)
    index: Tensor,  # (B,)
    keys: Tensor,  # (K, d) unit rows, labelled
    key_labels: Tensor,  # (K,)
    key_index: Tensor,  # (K,)
    log_prior: Tensor,  # (C,)
    filled: Tensor,  # (C,) keys per class
    log_temperature: Tensor,  # ()
) -> Mixture:
    """Negative log-posterior of the label when each stored key is an isotropic Gaussian of variance T::

        S_ic = log (1/|Q_c|) Σ_{k∈Q_c} e^(q_i·k / T),     −log p(y_i | q_i) = −log softmax_c(S_ic + log π_c)[y_i]

    computed as LSE_k(s_k + b_k) − LSE_{k∈own}(s_k + b_k) with b_k = log π_{c(k)} − log |Q_{c(k)}|. ``contrast`` keeps
    the query's own keys and trains the features; ``temperature`` masks them, which makes T a leave-one-out estimate
    of the variance. A class without keys is absent from the mixture. A query whose class has no (other) key gives 0.
    """
    own = labels.clamp(min=0)
    bias = (log_prior - filled.clamp(min=1).to(log_prior.dtype).log()).to(queries.dtype)[key_labels]
    slots, temperature = filled[own], log_temperature.exp()
    lse = class_lse(queries, keys, bias, temperature.detach(), labels, key_labels, index, key_index)
    contrast = torch.logaddexp(lse.others, lse.own_class()) - lse.own_class()
    contrast = contrast.masked_fill((slots == 0) | (labels < 0), 0.0)

    loo = class_lse(queries.detach(), keys.detach(), bias, temperature, labels, key_labels, index, key_index)
    left = slots - loo.itself_keys
    fewer = slots.clamp(min=1).to(queries.dtype).log() - left.clamp(min=1).to(queries.dtype).log()
    shifted = loo.own + fewer  # the own mixture now averages over fewer keys
    leave_one_out = (torch.logaddexp(loo.others, shifted) - shifted).masked_fill((left < 1) | (labels < 0), 0.0)
    return Mixture(contrast, leave_one_out)


@full_precision
def distillation(logits: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """T² KL(softmax(z'/T) ‖ softmax(z/T)) per sample (M,) for student z and teacher z' logits (M, C)."""
    student, target = (F.log_softmax(z / temperature, -1) for z in (logits, teacher))
    return temperature**2 * (target.exp() * (target - student)).sum(-1)
