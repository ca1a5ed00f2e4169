"""Gaussian clouded logits, GCL (Li et al., CVPR 2022): the first of its two stages."""

import math

import torch
from torch import Tensor

from tailwise import rng
from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.ldam import ldam
from tailwise.losses.objective import Objective, full_precision, pointwise, require
from tailwise.types import Batch, Model, Output

SIGMA = 1 / 3
"""Standard deviation, not variance, of the noise before it is clipped to [−1, 1] (the authors' code)."""
DRAWS = 1024
"""Clouds that the carried prior is averaged over."""
AT_ONCE = 1 << 22
"""Numbers of them that are drawn together."""


def cloud_sizes(counts: Tensor) -> Tensor:
    """δ_c = (log n_max − log n_c) / (log n_max − log n_min) (C,) float64 in [0, 1]; 0 where all counts are equal."""
    away = -(counts.clamp(min=1).double().log())
    away = away - away.min()
    return away / away.max().clamp(min=torch.finfo(away.dtype).tiny)


def half_normal(*coordinates: int | Tensor) -> Tensor:
    """|ε| with ε ~ clip(N(0, 1/3²), −1, 1), float64, one for each element of the coordinates of `tailwise.rng`."""
    return (math.sqrt(2) * SIGMA * torch.erfinv(rng.uniform(*coordinates))).clamp(max=1.0)


@full_precision
def gaussian_clouded(
    logits: Tensor, labels: Tensor, noise: Tensor, counts: Tensor, kappa: float, margin: float, scale: float
) -> Tensor:
    """ℓ = cross-entropy of f_c − s κ |ε_c| δ_c − s m 1[c = y], per sample (M,), for logits (M, C), labels (M,), counts (C,).

    ``noise`` (M, C) is |ε|, which lowers the rare classes whatever the label. As in `ldam`, the logits are already
    scaled, f = s cos, so noise and margin are multiplied by ``scale`` s and the logits are not. κ = 0 is cross-entropy
    with one margin for all.
    """
    size = cloud_sizes(counts).to(logits.dtype)
    return ldam(logits - scale * kappa * noise.to(logits.dtype) * size, labels, size.new_full(size.shape, margin), scale)


class GCL(Objective):
    """Cross-entropy with a cloud of noise around each logit while training, wider for rare classes; cosine classifier.

    Defaults are those of stage one on CIFAR-LT: κ = 0.5 (1 for Places-LT), m = 0. The noise is a function of
    ``batch.key``, class and pixel. Outside training there is none. The published recipe also mixes samples, which this
    objective refuses; and its second stage trains the classifier anew on balanced draws, m = 0.1, s = 20, with a focal
    factor, which is a matter of the recipe.
    """

    classifier = "cosine"
    mixed = False
    scale: Tensor

    def __init__(self, counts: Counts, model: Model, kappa: float = 0.5, margin: float = 0.0) -> None:
        super().__init__(counts, model)
        require(min(kappa, margin) >= 0, f"GCL: kappa and margin must not be negative, got {kappa} and {margin}")
        self.kappa, self.margin = kappa, margin
        self.register_buffer("scale", torch.ones_like(self.log_prior[0]))  # of the classifier, seen in training

    @property
    def carried_log_prior(self) -> Tensor:
        """log π_c / q_c, normalised, with q the mean softmax of clouds alone, −s κ |ε_c| δ_c.

        Where all scores are equal, the posterior under the training prior is q (for m = 0): the clouds take part of the
        prior out of the scores.
        """
        draws, classes = (torch.arange(n, device=self.counts.device) for n in (DRAWS, self.counts.numel()))
        size, cleared = -self.scale * self.kappa * cloud_sizes(self.counts), []
        step = max(AT_ONCE // len(classes), 1)
        for start in range(0, DRAWS, step):
            some = draws[start : start + step, None]
            cleared.append((size * half_normal(some, classes)).log_softmax(1).logsumexp(0))
        return (self.log_prior - torch.stack(cleared).logsumexp(0).to(self.log_prior.dtype)).log_softmax(0)

    def noise(self, logits: Tensor, batch: Batch) -> Tensor:
        """|ε| (M, C) of this batch: the same for a draw of a sample on any rank and in any order; 0 outside training."""
        if not self.training:
            return torch.zeros_like(logits)
        places, classes = batch.labels[0].numel(), logits.shape[-1]  # an image is one place
        place, label = (torch.arange(n, device=logits.device) for n in (places, classes))
        return half_normal(batch.key[:, None, None], place[:, None], label).flatten(0, 1)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ}``."""
        logits, labels, weights = pointwise(out, batch)
        if self.training:
            self.scale.fill_(out.scale)
        options = self.kappa, self.margin, out.scale
        return {"cls": global_mean(gaussian_clouded(logits, labels, self.noise(logits, batch), self.counts, *options), weights)}
