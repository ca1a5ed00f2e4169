"""Runs whose images have several labels or none: a sigmoid for each class, under the prior of training or another."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from tailwise.predict.rows import Answering, Wishes, likeliest
from tailwise.predict.targets import positives
from tailwise.types import TailwiseError

LEAST = 0.5
"""The probability from which on an image gets a label."""
WORDS = {"uniform": "a uniform prior (every class in half of the images)", "train": "the prior of training"}


class MultiLabel(Answering):
    """``p_c = sigmoid(f_c − a_c + b_c)``: a the log odds that the logits carry, b those of the prior, by default training's."""

    needed = (*Answering.needed, "train_samples")

    def __init__(self, run: str | Path, about: dict[str, Any], wishes: Wishes) -> None:
        super().__init__(run, about, wishes)
        for option in ("per_group", "sets", "abstain"):
            if getattr(wishes, option) is not None:
                option = option.replace("_", "-")
                raise TailwiseError(
                    f"predict: --{option} is for runs of one class per image; {run} is multi-label, leave it out"
                )
        kind = "train" if wishes.prior is None else wishes.prior
        if kind == "estimate":
            raise TailwiseError(
                f"predict: --prior estimate is for runs of one class per image; {run} is multi-label, give train, uniform or a "
                "CSV file"
            )
        self.target = positives(kind, self.names, self.counts, about["train_samples"])
        self.top = min(wishes.top or 0, len(self.names))
        self.columns |= {"labels": list[str], "probabilities": list[float], **likeliest(self.top)}

    def meet(self, logits: Tensor, groups: Sequence[str]) -> None:
        """See `Answering`; nothing depends on the images."""
        kind = self.target.about["kind"]
        self.said = self._said(self.target.about, "none: probabilities of several labels are not calibrated")
        self.said["label_from_probability"] = LEAST
        self.summary = f"under {WORDS.get(kind, f'the prior of {kind}')}; not calibrated"

    def _part(self, free: Tensor, own: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """See `Answering`."""
        probabilities = (free + self.target.shares[""].logit()).sigmoid()
        best, order = probabilities.topk(self.top)
        for i, (name, _) in enumerate(own):
            labels = (probabilities[i] >= LEAST).nonzero()[:, 0]
            shares, ranks = probabilities[i, labels].sort(descending=True, stable=True)
            row: dict[str, Any] = {"path": name, "labels": [self.names[c] for c in labels[ranks].tolist()]}
            row["probabilities"] = [round(share, 6) for share in shares.tolist()]
            yield row | self._likeliest(best[i].tolist(), order[i].tolist())
