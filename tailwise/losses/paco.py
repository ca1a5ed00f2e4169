"""Parametric contrastive learning, PaCo (Cui, Zhong, Liu, Yu & Jia, ICCV 2021)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import gather, global_mean
from tailwise.losses.momentum import MomentumKeys
from tailwise.losses.parametric import Parametric, parametric_contrastive
from tailwise.losses.samples import Draw, samples
from tailwise.types import Batch, Model, Output


class PaCo(MomentumKeys, Parametric):
    """One joint softmax over class logits and contrast keys, for the first view; the momentum encoder sees the second.

    Anchors are the queries alone; their keys are the other queries of all ranks (with gradient), this step's momentum
    keys, and the queue. Prediction uses the classifier's logits alone. In the authors' code the queue starts with random
    keys under random labels; here it starts empty. Defaults: α = 0.01, τ = 0.05, 1024 keys, 32 of ResNet-32's 64 widths,
    as in their CIFAR recipe of 400 epochs; for ImageNet-LT they have α = 0.05 and τ from 0.07 to 0.2.
    """

    views = 2
    student_views: Sequence[int] = (0,)

    def __init__(
        self,
        counts: Counts,
        model: Model,
        queue_size: int = 1024,
        momentum: float = 0.999,
        alpha: float = 0.01,
        beta: float = 1.0,
        gamma: float = 1.0,
        supt: float = 1.0,
        temperature: float = 0.05,
        width: int | None = None,
        hidden: int | None = None,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(
            counts, model, queue_size, momentum, alpha=alpha, beta=beta, gamma=gamma, supt=supt,
            temperature=temperature, width=width, hidden=hidden, pixels=pixels,
        )  # fmt: skip

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ}``, the one joint term."""
        seen = self.look(out, batch)
        here = gather(seen.queries)
        keys, key_labels = torch.cat([here, seen.keys]), torch.cat([seen.key_labels[: len(here)], seen.key_labels])
        logits = samples(out.logits[-1:], batch, self.pixels)[0][0]  # at the places of the queries
        values = parametric_contrastive(
            logits, seen.queries, seen.labels, keys, key_labels, seen.position, self.log_prior,
            self.alpha, self.beta, self.gamma, self.supt, self.temperature,
        )  # fmt: skip
        return {"cls": global_mean(values, seen.labels >= 0)}
