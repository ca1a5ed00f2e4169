"""Gaussian mixture likelihood (Suh & Seo, ICML 2023): long-tailed recognition by maximising mutual information."""

import math

import torch
from torch import Tensor, nn

from tailwise.counts import Counts, allocate
from tailwise.distributed import global_mean
from tailwise.losses.heads import Projection, RowNorm
from tailwise.losses.keys import KeyProjection, Whole
from tailwise.losses.logit_adjusted import logit_adjusted
from tailwise.losses.mixture import Likelihood, bounded, distillation, gaussian_mixture, posterior
from tailwise.losses.objective import Objective, pointwise, require
from tailwise.losses.samples import Balanced, Draw, ring_share, samples
from tailwise.queue import ClassQueue, Queue
from tailwise.teacher import Ema, Teacher
from tailwise.types import Batch, Model, Output


class GML(Objective):
    """γ · logit-adjusted cross-entropy + β · (mixture likelihood + β_T · its temperature's) + α · distillation.

    View 0 goes to the classifier, view 1 is the query, the teacher makes keys of view 2. The queue stores the teacher's
    raw features and is projected anew each step by a trainable head, so its keys never go stale; another ``projection``
    than `Whole` (`HalfPrecision`, `Refresh`) is cheaper. ``teacher`` is frozen and trained beforehand in the paper; alone,
    the objective makes an `Ema` of the model. Use a cosine classifier of scale 30. Defaults: K = 4096 slots (more where
    the floor of 2 needs them), T from 0.1, γ = β = β_T = 1, α = 0; the authors' CIFAR code has α = 1. β_T = 0 keeps T
    fixed, τ = 0 leaves the prior out of both posteriors. The paper's body was not available: the terms and their masks
    are those of the authors' code.
    """

    views = 3
    student_views = (0, 1)
    classifier = "cosine"
    mixed = False
    likelihood: Likelihood = staticmethod(posterior)
    """What the features maximise: `posterior` keeps the query's own keys."""
    mixture = staticmethod(gaussian_mixture)
    """Both likelihoods, of the queries and the keys."""
    key_norm: type[RowNorm] = RowNorm
    """The norm in the key head."""

    def __init__(
        self,
        counts: Counts,
        model: Model,
        teacher: Teacher | None = None,
        queue_size: int | None = None,
        queue_floor: int = 2,
        width: int | None = None,
        temperature: float = 0.1,
        classifier_weight: float = 1.0,
        contrast_weight: float = 1.0,
        temperature_weight: float = 1.0,
        distillation_weight: float = 0.0,
        tau: float = 1.0,
        pixels: Draw | None = None,
        projection: KeyProjection | None = None,
    ) -> None:
        super().__init__(counts, model)
        require(contrast_weight > 0, "GML: contrast_weight must be positive; without its contrast GML is LogitAdjusted")
        require(temperature > 0, f"GML: temperature must be positive, got {temperature}")
        weights = classifier_weight, temperature_weight, distillation_weight, tau
        require(min(weights) >= 0, "GML: weights of terms and tau must not be negative")
        self.classifier_weight, self.contrast_weight, self.temperature_weight, self.distillation_weight = (
            classifier_weight, contrast_weight, temperature_weight, distillation_weight,
        )  # fmt: skip
        self.tau, self.pixels = tau, pixels or Balanced()
        self.teacher = teacher or Ema(model)  # type: ignore[arg-type]  # a Model that is trained is a module
        width = width or max(model.dim // 2, 1)
        self.query_head = Projection(model.dim, width)
        self.key_head = Projection(self.teacher.dim, width, norm=self.key_norm)
        if self.teacher.dim == model.dim:
            self.key_head.load_state_dict(self.query_head.state_dict())
        size = queue_size or max(4096, queue_floor * model.classes)
        self.projection = projection or Whole()
        self.queue = self.make_queue(size, queue_floor)
        self.projection.prepare(len(self.queue.rows), width)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    @property
    def carried_log_prior(self) -> Tensor:
        """(1 − τ) log π."""
        return (1 - self.tau) * self.log_prior

    def make_queue(self, size: int, floor: int) -> Queue:
        """Slots in proportion to the class counts above a floor."""
        return ClassQueue(allocate(self.counts, size, floor), self.teacher.dim)

    def vitals(self) -> dict[str, Tensor]:
        """For `tailwise.doctor.vitals`: T."""
        return {"temperature": bounded(self.log_temperature.detach())}

    def on_step(self, model: nn.Module) -> None:
        """An `Ema` teacher follows the model; a frozen one stays."""
        self.teacher.follow(model)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": γ ℓ_LA, "con": β L_con, "temp": β β_T L_T, "div": α L_div}``; div only with α > 0."""
        logits, targets, weights = pointwise(out, batch)
        classifier = global_mean(logit_adjusted(logits, targets, self.log_prior, self.tau), weights)
        terms = {"cls": self.classifier_weight * classifier}

        seen = self.teacher(batch.views[[2] if self.distillation_weight == 0 else [2, 0]])
        features, labels, index = samples(out.features[1:2], batch, self.pixels)
        raw, _, _ = samples(seen.features[:1], batch, self.pixels)  # the same places: the draw depends on batch.key
        pushed = self.queue.push(raw[0], labels, index, ring_share(batch)) if self.training else index[:0]
        keys, held = self.projection(self.key_head, self.queue, pushed)
        of_queries, prior = (self.query_head(features[0]), labels, index), self.tau * self.log_prior
        of_keys = keys, held.labels, held.index, prior, held.filled, self.log_temperature
        mixture = self.mixture(*of_queries, *of_keys, likelihood=self.likelihood)
        terms["con"] = self.contrast_weight * global_mean(mixture.contrast, labels >= 0)
        variance = global_mean(mixture.temperature, labels >= 0)
        terms["temp"] = self.contrast_weight * self.temperature_weight * variance
        if self.distillation_weight > 0:
            divergence = distillation(logits, seen.at_labels(1).flatten(0, -2))
            terms["div"] = self.distillation_weight * global_mean(divergence, weights)
        return terms
