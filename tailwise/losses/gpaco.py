"""Generalized parametric contrastive learning (Cui, Zhong, Tian, Liu, Yu & Jia, TPAMI 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.objective import require
from tailwise.losses.parametric import Parametric, parametric_contrastive
from tailwise.losses.samples import Draw, ring_share, samples
from tailwise.queue import FifoQueue
from tailwise.types import Batch, Model, Output


class GPaCo(Parametric):
    """`PaCo` without a momentum encoder and with smoothed class targets.

    The trained model sees both views, and both are anchors. Keys are both views of all ranks, with gradient, and a queue
    of earlier second views; it starts empty, and is pushed after it was compared with. Defaults: α = 0.045, τ = 0.2,
    8192 keys, as the authors have for ResNet-50 on ImageNet-LT; their long-tailed scripts leave ``smoothing`` at 0. On
    CIFAR they have α = 0.01, τ = 0.05, 1024 keys.
    """

    views = 2
    student_views: Sequence[int] = (0, 1)

    def __init__(
        self,
        counts: Counts,
        model: Model,
        alpha: float = 0.045,
        temperature: float = 0.2,
        smoothing: float = 0.0,
        queue_size: int = 8192,
        beta: float = 1.0,
        gamma: float = 1.0,
        supt: float = 1.0,
        width: int | None = None,
        hidden: int | None = None,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(counts, model, alpha, beta, gamma, supt, temperature, width, hidden, pixels)
        require(0 <= smoothing < 1, f"GPaCo: smoothing must lie in [0, 1), got {smoothing}")
        self.smoothing = smoothing
        self.queue = FifoQueue(queue_size, self.width, model.classes)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ}``, the one joint term, over the anchors of both views."""
        features, labels, index = samples(out.features, batch, self.pixels)
        rows, past = self.columns(features, labels), self.queue.read()
        keys, key_labels = torch.cat([rows.columns, past.keys]), torch.cat([rows.column_labels, past.labels])
        if self.training:
            self.queue.push(rows.anchors[1::2], labels, index, ring_share(batch))
        logits = samples(out.logits, batch, self.pixels)[0].transpose(0, 1).flatten(0, 1)  # in the order of the anchors
        values = parametric_contrastive(
            logits, rows.anchors, rows.labels, keys, key_labels, rows.position, self.log_prior,
            self.alpha, self.beta, self.gamma, self.supt, self.temperature, self.smoothing,
        )  # fmt: skip
        return {"cls": global_mean(values, rows.labels >= 0)}
