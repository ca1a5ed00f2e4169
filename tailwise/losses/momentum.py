"""The frame of contrast with a momentum encoder and a queue of labelled keys (He et al., CVPR 2020)."""

from abc import ABC
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from tailwise.counts import Counts
from tailwise.distributed import gather_keys, positions
from tailwise.losses.contrastive import Contrastive
from tailwise.losses.objective import require
from tailwise.losses.samples import Draw, ring_share, samples
from tailwise.losses.two_branch import TwoBranch
from tailwise.queue import FifoQueue
from tailwise.teacher import Ema
from tailwise.types import Batch, Model, Output


class Lookup(NamedTuple):
    """Queries of this rank and the keys they are compared with: this step's of all ranks, then the queue's."""

    queries: Tensor  # (M, d) unit rows
    labels: Tensor  # (M,) IGNORE allowed
    index: Tensor  # type: ignore[assignment]  # (M,) which sample
    keys: Tensor  # (K, d) unit rows, without gradient
    key_labels: Tensor  # (K,) IGNORE allowed among this step's
    key_index: Tensor  # (K,)
    position: Tensor  # (M,) the key that is the query's own second view of this step


class MomentumKeys(Contrastive, ABC):
    """The last view that the trained model sees is the query, the momentum encoder makes a key of the last of all.

    Encoder and projection of the keys are averages of the trained ones, in eval mode, so no shuffling of batch
    statistics is needed. A key is stored with the label and the index of its sample, and an unfilled slot is absent.
    Keys are pushed after they were compared, so the queue holds earlier steps only.
    """

    def __init__(self, counts: Counts, model: Model, queue_size: int = 1024, momentum: float = 0.999, **frame: Any) -> None:
        super().__init__(counts, model, **frame)
        require(0 <= momentum <= 1, f"{type(self).__name__}: momentum must lie in [0, 1], got {momentum}")
        self.teacher = Ema(cast(nn.Module, model), momentum)
        self.key_projector = Ema(self.projector, momentum)
        self.queue = FifoQueue(queue_size, self.width, model.classes)

    def on_step(self, model: nn.Module) -> None:
        """Both averages follow."""
        self.teacher.follow(model)
        self.key_projector.follow(self.projector)

    def look(self, out: Output, batch: Batch) -> Lookup:
        """Queries and keys of this step; while training, the keys then enter the queue."""
        features, labels, index = samples(out.features[-1:], batch, self.pixels)
        raw, _, _ = samples(self.teacher(batch.views[-1:]).features, batch, self.pixels)  # the same places
        new, past = cast(Tensor, self.key_projector(raw[0])), self.queue.read()
        keys = torch.cat([gather_keys(new), past.keys.to(new.dtype)])
        key_labels = torch.cat([gather_keys(labels), past.labels])
        key_index = torch.cat([gather_keys(index), past.index])
        if self.training:
            self.queue.push(new, labels, index, ring_share(batch))
        return Lookup(self.projector(features[0]), labels, index, keys, key_labels, key_index, positions(labels))


class MomentumContrast(MomentumKeys, TwoBranch, ABC):
    """View 0 goes to the classifier, view 1 is the query, the momentum encoder makes a key of view 2, as MoCo does.

    ``queue_size`` ≥ 1 is how many keys of earlier steps are kept, ``momentum`` in [0, 1] that of encoder and projection; the
    other options are those of `TwoBranch`.
    """

    student_views = (0, 1)

    def __init__(
        self,
        counts: Counts,
        model: Model,
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
            counts, model, queue_size, momentum, temperature=temperature, classifier_weight=classifier_weight,
            contrast_weight=contrast_weight, tau=tau, width=width, hidden=hidden, pixels=pixels,
        )  # fmt: skip
