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


def dense_bcl(
    anchors: Tensor,  # (M, d) the batch's two views
    labels: Tensor,  # (M,)
    prototypes: Tensor,  # (C, d)
    temperature: float,
) -> Tensor:
    """Mean balanced contrast as published: class sizes from a one-hot of all labels, an (M, M + C) matrix of weights."""
    classes = prototypes.shape[0]
    columns = torch.cat([anchors, prototypes])
    column_labels = torch.cat([labels, torch.arange(classes, device=labels.device)])
    same = (labels[:, None] == column_labels).to(anchors.dtype)
    weights = dense_weights(labels, column_labels, same)
    itself = torch.eye(len(columns), device=anchors.device, dtype=anchors.dtype)[: len(anchors)]
    scores = anchors @ columns.T / temperature
    scores = scores - scores.amax(1, keepdim=True).detach()
    every = ((scores.exp() * (1 - itself)) / weights).sum(1)
    positives = same * (1 - itself)
    return -((positives * (scores - every.log()[:, None])).sum(1) / positives.sum(1)).mean()


def dense_weights(labels: Tensor, column_labels: Tensor, same: Tensor) -> Tensor:
    """(M, M + C): the size of the column's class, one less where it is the anchor's; a Python loop over the columns."""
    classes = len(column_labels) - len(labels)
    one_hot = F.one_hot(column_labels, classes)[:, None, :].float()  # (M + C, 1, C), as published
    sizes = one_hot.sum((0, 1))
    per_column = torch.tensor([sizes[c] for c in column_labels], device=same.device)
    return per_column[None].expand_as(same) - same
