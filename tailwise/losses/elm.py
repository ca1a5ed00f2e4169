"""Embedding and logit margins (Jitkrittum, Menon, Rawat & Kumar, arXiv 2204.13208), reconstructed.

The body of the paper was not available to us: this objective is rebuilt from its abstract and claims none of its numbers.
Not to be confused with the "enlarged large margin" loss or extreme learning machines.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise import distributed
from tailwise.counts import Counts, allocate, log_prior
from tailwise.distributed import global_mean
from tailwise.losses.cross_entropy import cross_entropy
from tailwise.losses.embedding import EmbeddingTerm, LogTriplet, Pairs
from tailwise.losses.heads import unit
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.objective import Objective, full_precision, pointwise, require
from tailwise.losses.rows import by_rows
from tailwise.losses.samples import Balanced, Draw, ring_share, samples
from tailwise.queue import ClassQueue
from tailwise.types import Batch, Model, Output


@by_rows
def logit_margin(logits: Tensor, labels: Tensor, margins: Tensor) -> Tensor:
    """ℓ = log(1 + Σ_{j≠y} exp(Δ_yj + f_j − f_y)), per sample (M,), for a table of margins Δ (C, C).

    Δ = 0 is cross-entropy; Δ_yj = τ log(π_j / π_y) is logit adjustment; the diagonal is not read.
    """
    own = F.one_hot(labels, logits.shape[1]).bool()
    return cross_entropy(logits + margins[labels].masked_fill(own, 0.0), labels)


def rarity_weights(counts: Tensor, gamma: float) -> Tensor:
    """ω_c = (n_max/n_c)^γ / Σ_j π_j (n_max/n_j)^γ (C,) float64: more for rare classes, 1 on average over the training set."""
    rarity = -gamma * counts.clamp(min=1).double().log()
    return (rarity - (log_prior(counts) + rarity).logsumexp(0)).exp()  # in logarithms: 10⁹ raised to 35 is infinite


@full_precision
def embedding_spread(
    term: EmbeddingTerm,
    anchors: Tensor,  # (M, D) features, of any length
    labels: Tensor,  # (M,) IGNORE allowed
    keys: Tensor,  # (K, D)
    key_labels: Tensor,  # (K,) IGNORE allowed
    position: Tensor,  # (M,) which key is the anchor itself
    counts: Tensor,  # (C,)
    weights: Tensor,  # (C,) ω
) -> Tensor:
    """ω_y Ω per anchor (M,) on features of unit length; 0 for an anchor without positives."""
    valid, own = (labels >= 0)[:, None] & (key_labels >= 0), labels.clamp(min=0)
    same = position[:, None] == torch.arange(keys.shape[0], device=keys.device)
    alike = labels[:, None] == key_labels
    z, keys = unit(anchors), unit(keys)
    pairs = Pairs(z, keys, own, key_labels.clamp(min=0), valid & alike & ~same, valid & ~alike, same, counts)
    return weights.to(z.dtype)[own] * term(pairs)


class ELM(Objective):
    """Logit margins + λ ω_y Ω: an embedding term on the penultimate features, weighted towards rare classes.

    Logit margins are τ log(π_j / π_y); λ = 0 is `LogitAdjusted`. Keys are the batch and a class-wise queue of past
    embeddings, because a batch holds almost no pair of tail samples; a past
    embedding of the same image is a positive, as a second view would be. λ grows linearly over the first ``ramp`` epochs.
    Every default is ours: Ω = `LogTriplet`, λ = 0.1, γ = 1/2, 1024 slots with a floor of 4.
    """

    mixed = False
    ramped: Tensor
    rarity: Tensor

    def __init__(
        self,
        counts: Counts,
        model: Model,
        embedding: EmbeddingTerm | None = None,
        weight: float = 0.1,
        gamma: float = 0.5,
        tau: float = 1.0,
        ramp: int = 5,
        queue_size: int | None = None,
        queue_floor: int = 4,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(counts, model)
        require(min(weight, gamma, tau, ramp) >= 0, "ELM: weight, gamma, tau and ramp must not be negative")
        self.embedding = embedding or LogTriplet()
        self.weight, self.tau, self.ramp, self.pixels = weight, tau, ramp, pixels or Balanced()
        self.register_buffer("rarity", rarity_weights(self.counts, gamma).to(self.log_prior.dtype))
        self.register_buffer("ramped", torch.ones(()))
        size = queue_size or max(1024, queue_floor * model.classes)
        self.queue = ClassQueue(allocate(self.counts, size, queue_floor), model.dim)

    @property
    def carried_log_prior(self) -> Tensor:
        """(1 − τ) log π."""
        return (1 - self.tau) * self.log_prior

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """The share of λ that this epoch uses."""
        self.ramped.fill_(min(1.0, (epoch + 1) / max(self.ramp, 1)))

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean logit margin, "emb": λ mean ω Ω}``."""
        logits, targets, weights = pointwise(out, batch)
        features, labels, index = samples(out.features[:1], batch, self.pixels)
        here, past = distributed.gather(features[0]), self.queue.read()
        keys = torch.cat([here.to(past.keys.dtype), past.keys])
        key_labels = torch.cat([distributed.gather_keys(labels), past.labels])
        position = distributed.positions(labels)
        spread = embedding_spread(self.embedding, features[0], labels, keys, key_labels, position, self.counts, self.rarity)
        if self.training:
            self.queue.push(unit(features[0].detach().to(self.queue.rows.dtype)), labels, index, ring_share(batch))
        return {
            "cls": global_mean(logit_adjusted(logits, targets, self.log_prior, self.tau), weights),
            "emb": self.weight * self.ramped * global_mean(spread, labels >= 0),
        }
