"""Targeted supervised contrast (Li, Cao, Yuan, Fan, Yang, Feris, Indyk & Katabi, CVPR 2022)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.counts import Counts, count_labels
from tailwise.distributed import gather_keys, global_mean
from tailwise.losses.kcl import KCL, weighted_contrastive
from tailwise.losses.objective import require
from tailwise.losses.samples import Draw
from tailwise.losses.targets import simplex, spread
from tailwise.types import Batch, Model, Output

LARGEST = 10_000
"""Classes that are matched with targets: it takes a table of C² numbers, 0.8 GB, and up to C³ steps."""


class TSC(KCL):
    """`KCL` whose class means are drawn to C fixed targets, spread evenly over the sphere whatever the class counts.

    Targets are a simplex where the width allows it and are optimised otherwise. They are keys: the target of the query's
    class is one more positive, whose term has weight 0.2, the others are negatives. Which class has which target follows
    the class centroids, moving averages (0.9 / 0.1) of the queries' mean directions over the global batch: they are
    matched to maximise the summed similarity. The authors match at every step, here it is once per epoch. As in their
    schedule the first half of the epochs (``warmup``) is `KCL` alone, and the first epoch always is.
    """

    targets: Tensor
    centroids: Tensor
    matched: Tensor

    def __init__(
        self,
        counts: Counts,
        model: Model,
        target_weight: float = 0.2,
        warmup: float = 0.5,
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
            counts,
            model,
            positives,
            temperature,
            queue_size,
            momentum,
            classifier_weight,
            contrast_weight,
            tau,
            width,
            hidden,
            pixels,
        )
        require(target_weight >= 0, f"TSC: target_weight must not be negative, got {target_weight}")
        require(model.classes <= LARGEST, f"TSC: cannot match {model.classes} classes, at most {LARGEST}; use KCL")
        require(0 <= warmup <= 1, f"TSC: warmup is a share of the epochs in [0, 1], got {warmup}")
        self.target_weight, self.warmup = target_weight, warmup
        points = (simplex if self.width >= model.classes - 1 else spread)(model.classes, self.width)
        self.register_buffer("targets", points.to(self.log_prior.dtype))  # row c is the target of class c once matched
        self.register_buffer("centroids", torch.zeros_like(self.targets))  # zero: a class that was not seen yet
        self.register_buffer("matched", torch.tensor(-1))  # the epoch of the last matching; before it there are no targets

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Match classes and targets, once per epoch: not again on a resume within it. O(C³)."""
        if epoch < max(1, math.ceil(self.warmup * epochs)) or epoch == int(self.matched):
            return
        from scipy.optimize import linear_sum_assignment

        similarity = self.centroids.double() @ self.targets.double().T
        _, column = linear_sum_assignment(similarity.cpu().numpy(), maximize=True)
        self.targets.copy_(self.targets[torch.from_numpy(column).to(self.targets.device)])
        self.matched.fill_(epoch)

    @torch.no_grad()
    def follow(self, rows: Tensor, labels: Tensor) -> None:
        """Centroids of the classes of this step move towards the mean directions of their rows, of all ranks."""
        rows, labels = gather_keys(rows), gather_keys(labels)
        seen = count_labels(labels, len(self.centroids)) > 0
        sums = torch.zeros_like(self.centroids).index_add_(0, labels[labels >= 0], rows[labels >= 0].to(self.centroids.dtype))
        moved = F.normalize(0.9 * self.centroids + 0.1 * F.normalize(sums, dim=1), dim=1)
        self.centroids.copy_(torch.where(seen[:, None], moved, self.centroids))

    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """The mean of `weighted_contrastive` over labelled queries, targets among the keys."""
        seen = self.look(out, batch)
        if self.training:
            self.follow(seen.queries, seen.labels)
        active = self.matched >= 0
        positives, weights = self.drawn(seen, batch)
        target = (len(seen.keys) + seen.labels.clamp(min=0))[:, None]
        values = weighted_contrastive(
            seen.queries,
            torch.cat([seen.keys, self.targets.to(seen.keys.dtype)]),
            torch.cat([seen.key_labels >= 0, active.expand(len(self.targets))]),
            torch.cat([positives, target], 1),
            torch.cat([weights, (self.target_weight * active).to(weights.dtype).expand(len(target), 1)], 1),
            self.temperature,
        )
        return global_mean(values, seen.labels >= 0)
