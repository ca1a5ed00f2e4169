"""What objectives keep of class counts is as precise as float32, whatever precision the task is moved to."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Tables(nn.Module):
    """A module whose own buffers of numbers, unlike its heads and queues, do not become half precision.

    A class 10⁹ times rarer than another has a weight that float16 cannot hold; bfloat16 has two digits of a log prior.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Tables":
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, moved in self._buffers.items():
            table = before[name]
            if moved is not None and table is not None and moved.dtype in (torch.float16, torch.bfloat16):
                self._buffers[name] = table.to(moved.device)
        return self
