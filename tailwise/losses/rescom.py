"""ResCom: rebalanced siamese contrastive mining (Zhong et al., arXiv 2203.11506)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tailwise.counts import Counts, effective_number
from tailwise.distributed import global_mean
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.objective import full_precision, require
from tailwise.losses.samples import Draw, ring_share, samples
from tailwise.losses.two_branch import TwoBranch
from tailwise.queue import ClassQueue
from tailwise.types import Batch, Model, Output


def highest(scores: Tensor, members: Tensor, count: int) -> Tensor:
    """Which ``count`` members of each row (M, K) bool score highest: all of them if they are fewer, the first of equals."""
    order = torch.argsort(scores.masked_fill(~members, -torch.inf), dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(members).scatter(1, order, True) & members


@full_precision
def hard_contrastive(
    anchors: Tensor,  # (M, d) unit rows
    labels: Tensor,  # (M,)
    columns: Tensor,  # (N, d) unit rows, the anchors of all ranks among them
    column_labels: Tensor,  # (N,) IGNORE allowed
    position: Tensor,  # (M,) which column is the anchor itself
    keys: Tensor,  # (K, d) unit rows of the queue
    key_labels: Tensor,  # (K,)
    hard_positives: int,
    hard_negatives: int,
    temperature: float,
    bias: Tensor,  # (C,) added to the scores of a class, such as η log π
) -> Tensor:
    """Supervised contrast with the batch and with those keys of the queue that are hardest, per anchor (M,).

    With S_ik = z_i · a_k / τ + b_{y_k}, and A_i the columns without the anchor itself, the ``hard_positives`` least
    similar keys of its class and the ``hard_negatives`` most similar ones of others::

        ℓ_i = log Σ_{k∈A_i} e^{S_ik}  −  mean_{k∈A_i, y_k=y_i} S_ik

    which is cross-entropy against a normalised multi-hot target. An anchor without positives gives 0.
    """
    row = torch.arange(columns.shape[0], device=columns.device)
    in_batch = (column_labels >= 0) & (position[:, None] != row)
    near, alike = anchors @ keys.T, labels[:, None] == key_labels
    mined = highest(-near, alike, hard_positives) | highest(near, ~alike, hard_negatives)
    every_label = torch.cat([column_labels, key_labels])
    kept, positive = torch.cat([in_batch, mined], 1), labels[:, None] == every_label
    scores = torch.cat([anchors @ columns.T, near], 1) / temperature + bias[every_label.clamp(min=0)]
    positive = positive & kept
    count = positive.sum(1)
    pull = scores.masked_fill(~positive, 0.0).sum(1) / count.clamp(min=1)
    return (scores.masked_fill(~kept, -1e30).logsumexp(1) - pull).masked_fill(count < 1, 0.0)


class ResCom(TwoBranch):
    """λ · logit-adjusted cross-entropy + w · contrast with mined keys, both on both views; there is no momentum encoder.

    Every class has a ring of equally many keys, projections of earlier first views; it starts empty. The contrast of an
    anchor of class c weighs mean_j(E_j) / E_c with the effective number E of its class, so rare classes count more.
    ``prior_weight`` η puts η log π_c on the scores of class c ("Siamese balanced softmax"). β = 0.999 and 8 keys per
    class are the authors'. Their settings for each data set were not published, and every other default is ours: 4 hard
    positives, 64 hard negatives, τ = 0.1, η = 0, and w = 0.35 as BCL has.
    """

    views = 2
    student_views: Sequence[int] = (0, 1)
    rarity: Tensor

    def __init__(
        self,
        counts: Counts,
        model: Model,
        queue_per_class: int = 8,
        hard_positives: int = 4,
        hard_negatives: int = 64,
        beta: float = 0.999,
        prior_weight: float = 0.0,
        contrast_weight: float = 0.35,
        classifier_weight: float = 1.0,
        tau: float = 1.0,
        temperature: float = 0.1,
        width: int | None = None,
        hidden: int | None = None,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(counts, model, classifier_weight, contrast_weight, tau, temperature, width, hidden, pixels)
        require(min(hard_positives, hard_negatives) >= 0, "ResCom: numbers of hard keys must not be negative")
        require(prior_weight >= 0, f"ResCom: prior_weight must not be negative, got {prior_weight}")
        self.hard_positives, self.hard_negatives, self.prior_weight = hard_positives, hard_negatives, prior_weight
        volume = effective_number(self.counts, beta)
        self.register_buffer("rarity", (volume.mean() / volume).to(self.log_prior.dtype))
        self.queue = ClassQueue(torch.full((model.classes,), queue_per_class), self.width)

    def classification(self, out: Output, batch: Batch) -> Tensor:
        """The mean ℓ_LA of both views."""
        views, labels = range(len(out.logits)), batch.labels.flatten()
        logits = (out.at_labels(view).flatten(0, -2) for view in views)  # of one view after the other: never together
        values = torch.cat([logit_adjusted(f, labels.clamp(min=0), self.log_prior, self.tau) for f in logits])
        return global_mean(values, (labels >= 0).repeat(len(views)))

    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """The mean weighted `hard_contrastive` of both views; while training, the first then enters the queue."""
        features, labels, index = samples(out.features, batch, self.pixels)
        rows, past = self.columns(features, labels), self.queue.read()
        values = hard_contrastive(
            *rows, past.keys, past.labels, self.hard_positives, self.hard_negatives, self.temperature,
            self.prior_weight * self.log_prior,
        )  # fmt: skip
        if self.training:
            self.queue.push(rows.anchors[0::2], labels, index, ring_share(batch))
        return global_mean(self.rarity[rows.labels.clamp(min=0)] * values, rows.labels >= 0)
