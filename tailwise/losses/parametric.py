"""The frame of parametric contrast (Cui, Zhong, Liu, Yu & Jia, ICCV 2021): class logits and keys in one softmax."""

import math
from abc import ABC

import torch
from torch import Tensor

from tailwise.counts import Counts, count_labels
from tailwise.kernels import class_lse
from tailwise.losses.contrastive import Contrastive, class_sums
from tailwise.losses.objective import full_precision, require
from tailwise.losses.samples import Draw
from tailwise.types import Model


@full_precision
def parametric_contrastive(
    logits: Tensor,  # (M, C)
    queries: Tensor,  # (M, d) unit rows
    labels: Tensor,  # (M,)
    keys: Tensor,  # (K, d) unit rows, the queries themselves among them
    key_labels: Tensor,  # (K,) IGNORE allowed
    position: Tensor,  # (M,) which key is the query itself
    log_prior: Tensor,  # (C,)
    alpha: float = 0.05,
    beta: float = 1.0,
    gamma: float = 1.0,
    supt: float = 1.0,
    temperature: float = 0.2,
    smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of one softmax over C classes and all keys but the query itself, per query (M,).

    With class scores u_ic = (f_ic + log π_c) / supt, key scores s_ik = z_i · z_k / τ, and P the n same-class keys::

        ℓ_i = log(Σ_c e^{u_ic} + γ Σ_{k≠i} e^{s_ik})  −  (β Σ_c t_ic u_ic + α Σ_{k∈P} s_ik) / (β + α n)

    t is 1 for the own class; ``smoothing`` ε ∈ [0, 1) leaves it 1 − ε and gives each other class ε / (C − 1).
    α ≥ 0; β, γ, supt and τ are positive. The value for an IGNORE query is finite and means nothing.
    """
    classes, own, valid = logits.shape[1], labels.clamp(min=0), key_labels >= 0
    scores = (logits + log_prior) / supt
    off = smoothing / max(classes - 1, 1)
    centre = (1 - off * classes) * scores.gather(1, own[:, None]).squeeze(1) + off * scores.sum(1)

    bias = keys.new_full((keys.shape[0],), math.log(gamma)).masked_fill(~valid, -torch.inf)
    index = torch.arange(keys.shape[0], device=keys.device)
    lse = class_lse(queries, keys, bias, temperature, labels, key_labels, position, index)
    every = torch.logaddexp(scores.logsumexp(1), torch.logaddexp(lse.others, lse.own))

    positives = (count_labels(key_labels, classes)[own] - 1).clamp(min=0).to(keys.dtype)  # without the query itself
    members = class_sums(keys, key_labels, classes)
    positive = (queries * (members[own] - keys[position])).sum(1) / temperature
    return every - (beta * centre + alpha * positive) / (beta + alpha * positives)


class Parametric(Contrastive, ABC):
    """The options of `parametric_contrastive`: α the weight of a same-class key, β of the own class, γ of the keys' share.

    The deployed logits are f, trained as (f + log π) / supt. Of a dense task the drawn pixels are trained on, no others.
    """

    def __init__(
        self,
        counts: Counts,
        model: Model,
        alpha: float = 0.01,
        beta: float = 1.0,
        gamma: float = 1.0,
        supt: float = 1.0,
        temperature: float = 0.05,
        width: int | None = None,
        hidden: int | None = None,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(counts, model, temperature, width, hidden, pixels)
        name = type(self).__name__
        require(alpha >= 0, f"{name}: alpha must not be negative, got {alpha}")
        require(min(beta, gamma, supt) > 0, f"{name}: beta, gamma and supt must be positive")
        self.alpha, self.beta, self.gamma, self.supt = alpha, beta, gamma, supt

    @property
    def carried_log_prior(self) -> Tensor:
        """(supt − 1) log π: none at supt = 1."""
        return (self.supt - 1) * self.log_prior
