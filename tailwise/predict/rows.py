"""From logits to the rows of the table: what every kind of run has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from tailwise.counts import absent
from tailwise.models.saved import ABOUT
from tailwise.predict.inputs import printable
from tailwise.priors import adjust
from tailwise.types import TailwiseError

AT_ONCE = 2**20
"""Logits that are turned into rows at once."""


class Wishes(NamedTuple):
    """What a user asks for; see `tailwise.predict.classify`. None: not said."""

    top: int | None = None
    prior: str | None = None
    per_group: str | None = None
    sets: float | None = None
    abstain: float | None = None


class Answering(ABC):
    """What a run and the user's wishes make of logits; everything that can be refused is refused when it is made.

    ``columns`` are the table's, ``said`` is what the sidecar says, ``summary`` the same in a line; the latter two are there
    after `meet`. ``about`` is the run's ``model.json``. A subclass for each kind of run.
    """

    needed: ClassVar[tuple[str, ...]] = ("classes", "image_size", "normalisation", "train_counts", "carried_log_prior")
    """Keys of ``model.json``."""

    def __init__(self, run: str | Path, about: dict[str, Any], wishes: Wishes) -> None:
        if missing := [key for key in self.needed if key not in about]:
            raise TailwiseError(f"{run}: its {ABOUT} says nothing about {' and '.join(missing)}; train the run again")
        self.about, self.run, self.wishes = about, str(run), wishes
        self.names = [printable(name) for name in about["classes"]]
        self.counts = torch.tensor(about["train_counts"] or [1] * len(self.names))
        self.carried = torch.tensor(about["carried_log_prior"])
        self.absent = absent(self.counts)
        self.columns: dict[str, type] = {"path": str}
        self.said: dict[str, Any] = {}
        self.summary = ""

    @abstractmethod
    def meet(self, logits: Tensor, groups: Sequence[str]) -> None:
        """Take note of all images, (N, C), and their groups: fill ``said`` and ``summary``."""

    def rows(self, logits: Tensor, names: Sequence[str], groups: Sequence[str]) -> Iterator[dict[str, Any]]:
        """A row for each image that could be read: (N, C), what it is called, its group; after `meet`."""
        step = max(AT_ONCE // logits.shape[1], 1)
        for start in range(0, len(names), step):
            part = slice(start, start + step)
            readable = (~logits[part, 0].isnan()).nonzero()[:, 0]
            own = [(names[start + i], groups[start + i]) for i in readable.tolist()]
            if own:
                yield from self._part(self._free(logits[part][readable]), own)

    @abstractmethod
    def _part(self, free: Tensor, own: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """Rows of some images: logits (n, C) free of any prior, name and group of each."""

    def _free(self, logits: Tensor) -> Tensor:
        """(n, C) float64 free of any prior; −inf for a class that training lacked."""
        return adjust(logits.double(), self.carried, absent=self.absent)

    def _said(self, prior: Mapping[str, Any], calibration: object) -> dict[str, Any]:
        """What the sidecar says of any run."""
        return {"run": self.run, "columns": list(self.columns), "prior": prior, "calibration": calibration}

    def _likeliest(self, best: Sequence[float], order: Sequence[int]) -> dict[str, Any]:
        """The cells of the likeliest classes, from their probabilities and numbers."""
        cells = (cell for share, c in zip(best, order, strict=True) for cell in (self.names[c], round(share, 6)))
        return dict(zip(likeliest(len(best)), cells, strict=True))


def likeliest(top: int) -> dict[str, type]:
    """The columns of the ``top`` likeliest classes: class, probability, class_2, probability_2, …"""
    tails = ["", *(f"_{k}" for k in range(2, top + 1))][:top]
    return {f"{what}{tail}": kind for tail in tails for what, kind in (("class", str), ("probability", float))}
