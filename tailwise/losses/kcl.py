"""k-positive contrastive learning (Kang, Li, Xie, Yuan & Feng, ICLR 2021): as many positives for rare as for frequent."""

import torch
from torch import Tensor

from tailwise import rng
from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.momentum import Lookup, MomentumContrast
from tailwise.losses.objective import full_precision, require
from tailwise.losses.samples import Draw
from tailwise.types import Batch, Model, Output

DRAW = 6  # tells this draw from others that are made with the same key


@full_precision
def weighted_contrastive(
    queries: Tensor,  # (M, d) unit rows
    keys: Tensor,  # (K, d) unit rows
    present: Tensor,  # (K,) bool: keys that take part
    positives: Tensor,  # (M, P) int64: keys that are the query's positives
    weights: Tensor,  # (M, P) ≥ 0; 0 for none
    temperature: float,
) -> Tensor:
    """Contrast with given positives, per query (M,). With S_ik = q_i · k / τ over the keys that are present::

        ℓ_i = Σ_p w_ip (log Σ_k e^{S_ik} − S_ip) / |{p : w_ip > 0}|

    Every other key is a negative, those of the query's own class too. A query without positives gives 0.
    """
    scores = queries @ keys.T / temperature
    every = scores.masked_fill(~present, -1e30).logsumexp(1, keepdim=True)
    return (weights * (every - scores.gather(1, positives))).sum(1) / (weights > 0).sum(1).clamp(min=1)


def draw(key: Tensor, names: Tensor, candidates: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``count`` of the candidates (M, K) bool of each row at random, without replacement; all of them if they are fewer.

    Gives columns (M, P) and weights (M, P): 1 for a drawn candidate, 0 for a gap. The draw is a function of the row's
    ``key`` (M,) and the columns' ``names`` (K,) alone.
    """
    lots = rng.uniform(key[:, None], names).masked_fill(~candidates, 2.0)
    lot, columns = lots.topk(min(count, lots.shape[1]), dim=1, largest=False)
    return columns, (lot < 1).to(torch.get_default_dtype())


class KCL(MomentumContrast):
    """λ · logit-adjusted cross-entropy on the first view + μ · contrast of the second with its third and k of its class.

    Positives are the query's own third view and k = 6 keys of its class drawn at random from the others, all where there
    are fewer. Keys of the class that were not drawn stay in the denominator as negatives: "v1" of the authors' code,
    whose "v2" gives them score 0 instead. That code takes the first keys that it finds, the re-implementation that came
    with TSC draws them. T = 0.07. Published as the first of two stages: λ = 0, then a classifier on the fixed backbone.
    """

    def __init__(
        self,
        counts: Counts,
        model: Model,
        positives: int = 6,
        temperature: float = 0.07,
        queue_size: int = 1024,
        momentum: float = 0.999,
        classifier_weight: float = 1.0,
        contrast_weight: float = 1.0,
        tau: float = 1.0,
        width: int | None = None,
        hidden: int | None = None,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(
            counts, model, temperature, queue_size, momentum, classifier_weight, contrast_weight, tau, width, hidden, pixels
        )
        require(positives >= 1, f"{type(self).__name__}: positives must be at least 1, got {positives}")
        self.positives = positives

    def drawn(self, seen: Lookup, batch: Batch) -> tuple[Tensor, Tensor]:
        """Columns and weights (M, 1 + k) of the positives: the own third view first."""
        place = torch.arange(seen.labels.numel() // batch.key.numel(), device=seen.labels.device)  # of a pixel in its image
        key = rng.mix(batch.key[:, None], DRAW, place).flatten()
        names = (seen.key_labels >= 0).cumsum(0)  # numbered without the unlabelled, which must change nothing
        column = torch.arange(names.numel(), device=names.device)
        candidates = (seen.labels[:, None] == seen.key_labels) & (seen.position[:, None] != column)
        columns, weights = draw(key, names, candidates, self.positives)
        return torch.cat([seen.position[:, None], columns], 1), torch.cat([weights.new_ones(len(key), 1), weights], 1)

    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """The mean of `weighted_contrastive` over labelled queries."""
        seen = self.look(out, batch)
        values = weighted_contrastive(seen.queries, seen.keys, seen.key_labels >= 0, *self.drawn(seen, batch), self.temperature)
        return global_mean(values, seen.labels >= 0)
