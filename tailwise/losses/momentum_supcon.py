"""Supervised contrast with a momentum encoder and a queue of labelled keys (Khosla et al., 2020; He et al., 2020)."""

import torch
from torch import Tensor

from tailwise.distributed import global_mean
from tailwise.losses.momentum import MomentumContrast
from tailwise.losses.supcon import supervised_contrastive
from tailwise.types import Batch, Output


class MomentumSupCon(MomentumContrast):
    """λ · logit-adjusted cross-entropy on the first view + μ · supervised contrast of the second with momentum keys.

    Positives of a query are all keys of its class: its own third view, those of this step and those of the queue. Labels
    travel with their keys. The queue has the classes in the shares of the training data, so it brings more pairs and no
    balance. T = 0.07 and 1024 keys as for CIFAR; ImageNet has 65536. λ = 0 is the first of two stages.
    """

    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """The mean of `supervised_contrastive` over labelled queries; no key is the query itself."""
        seen = self.look(out, batch)
        nowhere = torch.full_like(seen.position, -1)
        values = supervised_contrastive(seen.queries, seen.labels, seen.keys, seen.key_labels, nowhere, self.temperature)
        return global_mean(values, seen.labels >= 0)
