"""The GML contrast as its published code computes it, and the floor: what the fast kernel is measured against.

The published cost (Suh & Seo, ICML 2023, official code): class pooling by a product with a one-hot matrix (K, C), once
for the exponentials and once for the counts, in each of two branches that compute q kᵀ anew. Written from its equations.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def class_means(scores: Tensor, members: Tensor, key_labels: Tensor, classes: int) -> Tensor:
    """log of the mean of e^score over each class's member keys (B, C), pooled by a dense product."""
    top = scores.amax(1, keepdim=True).detach()
    one_hot = F.one_hot(key_labels, classes).to(scores.dtype)  # (K, C)
    sums = (members * (scores - top).exp()) @ one_hot
    return (sums / (members @ one_hot)).log() + top


def dense_mixture(
    queries: Tensor,  # (B, d)
    labels: Tensor,  # (B,)
    index: Tensor,  # (B,)
    keys: Tensor,  # (K, d)
    key_labels: Tensor,  # (K,)
    key_index: Tensor,  # (K,)
    log_prior: Tensor,  # (C,)
    filled: Tensor,  # (C,) not used: the counts are computed again
    log_temperature: Tensor,  # ()
) -> tuple[Tensor, Tensor]:
    """The two terms (B,) of `tailwise.losses.mixture.gaussian_mixture`, with O(B K C) work and (B, K) masks."""
    temperature, classes = log_temperature.exp(), log_prior.numel()
    scores = queries @ keys.T / temperature.detach()
    kept = class_means(scores, torch.ones_like(scores), key_labels, classes)
    contrast = F.cross_entropy(kept + log_prior, labels, reduction="none")

    scores = queries.detach() @ keys.detach().T / temperature
    others = (index[:, None] != key_index).to(scores.dtype)
    left_out = class_means(scores, others, key_labels, classes)
    return contrast, F.cross_entropy(left_out + log_prior, labels, reduction="none")


def floor(queries: Tensor, keys: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three products with outputs written, for weights (B, K): q kᵀ, G k, Gᵀ q; no exact gradient can have fewer."""
    return queries @ keys.T, weights @ keys, weights.T @ queries
