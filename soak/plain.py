"""An objective whose parallel runs can be compared number by number: GML with its queue dealt out, without batch statistics."""

import os
import time
from typing import Any

from torch import Tensor, nn

from tailwise.counts import Counts
from tailwise.losses import GMLSharded
from tailwise.types import Batch, Model, Output

PAUSE = "SOAK_PAUSE"
"""Environment: seconds that each step waits, so that it can be killed between two."""


class Plain(GMLSharded):
    """`GMLSharded` whose heads have no norm: on a CPU it would see a process's share of the batch."""

    def __init__(self, counts: Counts, model: Model, queue_size: int = 64) -> None:
        super().__init__(counts, model, queue_size=queue_size)
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.modules.batchnorm._BatchNorm):
                    setattr(module, name, nn.Identity())

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """As `GML`, after the pause."""
        time.sleep(float(os.environ.get(PAUSE, "0")))
        terms: dict[str, Any] = super().forward(out, batch)
        return terms
