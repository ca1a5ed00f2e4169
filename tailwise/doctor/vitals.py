"""What modules tell of themselves, collected once per epoch without knowing any of them."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

IDLE = 10
"""Epochs after which a slot that no step has written is stale."""


@runtime_checkable
class Telling(Protocol):
    """A module with something to tell: a figure (), or a mark (K,) for each of K slots that changes when a slot is written.

    A mark is NaN while its slot is unfilled. What is told under the name "marks" is followed as `Vitals` says.
    """

    def vitals(self) -> dict[str, Tensor]:
        """By name."""
        ...


class Vitals:
    """Collects the figures of all modules of an objective, and follows their marks from epoch to epoch.

    Of marks comes ``stale``: the share of the filled slots whose mark has been the same for `IDLE` epochs. What has to be
    remembered for it is the state, so that a resumed run goes on alike.
    """

    def __init__(self) -> None:
        self.marks: dict[str, Tensor] = {}
        self.idle: dict[str, Tensor] = {}

    def collect(self, objective: nn.Module) -> dict[str, float]:
        """The figures after an epoch, by the place of the module and the name of the figure."""
        found = {}
        for place, module in objective.named_modules():
            if isinstance(module, Telling):
                at = f"{place.replace('.', '_')}_" if place else ""
                for name, value in module.vitals().items():
                    if value.ndim == 0:
                        found[at + name] = float(value)
                    else:
                        found[f"{at}stale"] = self._stale(at + name, value.detach().double().cpu())
        return found

    def _stale(self, name: str, marks: Tensor) -> float:
        before = self.marks.get(name)
        idle = torch.zeros_like(marks, dtype=torch.int64)
        if before is not None and before.shape == marks.shape:  # else it was dealt out to other processes
            idle = torch.where(marks == before, self.idle[name] + 1, 0)
        self.marks[name], self.idle[name] = marks, idle
        filled = ~marks.isnan()
        return float((self.idle[name] >= IDLE)[filled].double().mean()) if bool(filled.any()) else 0.0

    def state_dict(self) -> dict[str, Any]:
        """See the class."""
        return {"marks": dict(self.marks), "idle": dict(self.idle)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See the class."""
        self.marks, self.idle = dict(state["marks"]), dict(state["idle"])
