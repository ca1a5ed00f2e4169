"""The terms of the loss: their sum, to be minimised; their means over an epoch, to be logged; the first that is not finite."""

import math
from collections.abc import Mapping
from statistics import fmean

import torch
from torch import Tensor

from tailwise.types import TailwiseError

LOG_EVERY = 10
"""Steps between two rows of the log, and between two looks at what a GPU computes: it has to finish for them."""


class Terms:
    """Follows the named terms (scalars) of one step after the other, and their sum, ``loss``.

    They are read every ``every`` steps, by default at once on a CPU and every `LOG_EVERY` elsewhere, and whenever they are
    asked for. Whatever reads raises `TailwiseError` for the first term that is not finite, with the step that it was in.
    """

    def __init__(self, every: int | None = None) -> None:
        self.every = every
        self._unread: list[tuple[str, tuple[str, ...], Tensor]] = []
        self._values: dict[str, list[float]] = {}
        self._last: dict[str, float] = {}

    def add(self, terms: Mapping[str, Tensor], where: str) -> Tensor:
        """The loss of a step, in the graph; ``where`` names the step in messages."""
        values = torch.stack(list(terms.values()))
        self._unread.append((where, tuple(terms), values.detach()))
        if len(self._unread) >= (self.every or (1 if values.device.type == "cpu" else LOG_EVERY)):
            self._read()
        return values.sum()

    def last(self) -> dict[str, float]:
        """The terms of the last step, as ``NAME_step``."""
        self._read()
        return {f"{name}_step": value for name, value in self._last.items()}

    def means(self) -> dict[str, float]:
        """The mean of each term over the steps that had it since the last call, as ``NAME_epoch``."""
        self._read()
        values, self._values = self._values, {}
        return {f"{name}_epoch": fmean(of) for name, of in values.items()}

    def state_dict(self) -> dict[str, list[float]]:
        """What `means` has not given yet."""
        self._read()
        return {name: list(of) for name, of in self._values.items()}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        """Go on from there."""
        self._values = {name: list(of) for name, of in state.items()}

    def _read(self) -> None:
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        numbers = iter(torch.cat([values for _, _, values in unread]).tolist())  # one wait for all of them
        for where, names, _ in unread:
            found = dict(zip(names, numbers, strict=False))  # as many as there are names
            if bad := [name for name, value in found.items() if not math.isfinite(value)]:
                advice = "start another run with a lower --optim.lr"
                raise TailwiseError(f"training: term {bad[0]!r} is not finite at {where}; {advice}")
            self._last = {"loss": sum(found.values()), **found}
            for name, value in self._last.items():
                self._values.setdefault(name, []).append(value)
