"""Skill-diverse experts, SADE (Zhang et al., NeurIPS 2022): each expert is trained for another class distribution."""

import torch
from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.cross_entropy import cross_entropy
from tailwise.losses.objective import Objective, pointwise, require
from tailwise.types import Batch, Model, Output


def reversed_log_prior(log_prior: Tensor) -> Tensor:
    """log π̃ (C,): the same values given out in reverse rank, so that the rarest class has the largest.

    Of classes with equal counts the first one counts as the rarer.
    """
    order = log_prior.argsort(stable=True)
    return torch.empty_like(log_prior).index_copy(0, order, log_prior[order.flip(0)])


def adjustments(log_prior: Tensor, tau: float, experts: int) -> Tensor:
    """What is added to the logits of each expert while training (E, C): 0, log π, log π − τ log π̃, and again from 0.

    They train for the long-tailed, the uniform and the reversed class distribution. A single expert gets log π.
    """
    skills = torch.stack([torch.zeros_like(log_prior), log_prior, log_prior - tau * reversed_log_prior(log_prior)])
    return skills[1:2] if experts == 1 else skills[torch.arange(experts, device=log_prior.device) % len(skills)]


class SADE(Objective):
    """Σ_e CE(f_e + A_e, y) over the experts e of a model, with the `adjustments` A_e; τ = 2 for the third.

    The paper has three experts. Of a model with one expert it is `LogitAdjusted`, of two they are the first two, and
    further ones start again from the first. What is deployed is the mean of the experts; weights for them that are
    fitted to unlabelled test images are `tailwise.posthoc.aggregate`.
    """

    classifier = "cosine"
    mixed = False
    experts: Tensor

    def __init__(self, counts: Counts, model: Model, tau: float = 2.0) -> None:
        super().__init__(counts, model)
        require(tau >= 0, f"SADE: tau must not be negative, got {tau}")
        self.tau = tau
        self.register_buffer("experts", torch.tensor(1))

    @property
    def carried_log_prior(self) -> Tensor:
        """log π − mean_e A_e of the experts last seen in training: (log π + τ log π̃) / 3 of three."""
        return self.log_prior - adjustments(self.log_prior, self.tau, int(self.experts)).mean(0)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean Σ_e ℓ_e}``."""
        _, labels, weights = pointwise(out, batch)
        experts = out.per_expert().flatten(1, -2)  # (E, M, C)
        if self.training:
            self.experts.fill_(len(experts))  # the model does not say how many it has before it speaks
        adjusted = experts + adjustments(self.log_prior, self.tau, len(experts))[:, None]
        values = cross_entropy(adjusted.flatten(0, 1), labels.repeat(len(experts)))
        return {"cls": global_mean(values.view(experts.shape[:2]).sum(0), weights)}
