"""Runs whose images have one class each: the likeliest ones under a prior, calibrated; sets, and images like no class."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tailwise import calibrate, conformal
from tailwise.predict.rows import AT_ONCE, Answering, Wishes, likeliest
from tailwise.predict.targets import APART, OF_GROUP, Target, by_group, estimated, fixed, part
from tailwise.types import TailwiseError

WORDS = {
    "uniform": "a uniform prior (every class alike)",
    "train": "the prior of training",
    "estimate": "an estimated prior",
}


class SingleLabel(Answering):
    """A softmax over the classes. The prior is uniform unless another one is asked for."""

    def __init__(self, run: str | Path, about: dict[str, Any], wishes: Wishes) -> None:
        super().__init__(run, about, wishes)
        _, prior, per_group, sets, abstain = wishes
        prior = "uniform" if prior is None else prior
        if per_group is not None and prior != "estimate":
            raise TailwiseError("predict: --per-group estimates a prior for each group, so it needs --prior estimate")
        if prior == "train" and about["train_counts"] is None:
            raise TailwiseError(f"{run}: its training counts are unknown (a converted checkpoint); give another --prior")
        self.held = conformal.read(Path(run), len(self.names))
        self.calibration = calibrate.stated(about)
        self.target = None if prior == "estimate" else fixed(prior, self.names, self.counts)
        self.top = min(wishes.top or 1, len(self.names))
        self.thresholds = None if sets is None else conformal.thresholds(self._held("sets"), self.counts, sets)
        self.least = None if abstain is None else conformal.least_energy(self._held("abstain"), abstain)
        self.columns |= {**({} if per_group is None else {"group": str}), **likeliest(self.top)}
        self.columns |= {**({} if sets is None else {"set": list[str]}), **({} if abstain is None else {"abstain": bool})}

    def _held(self, what: str) -> conformal.HeldOut:
        if self.held is None:
            raise TailwiseError(
                f"{self.run}: --{what} needs {conformal.FILE}, which a run writes that has a validation split; train it again "
                "with --data.validation 0.1"
            )
        return self.held

    def meet(self, logits: Tensor, groups: Sequence[str]) -> None:
        """See `Answering`; estimates the prior if that is asked for."""
        if self.target is None:
            rows = (~logits[:, 0].isnan()).nonzero()[:, 0]
            everyone = self._seen(logits, part(rows, logits.shape[1]))
            self.target = estimated(*everyone, self.held, self.names, self.counts)
            members: dict[str, list[int]] = {}
            for i in rows.tolist() if self.wishes.per_group is not None else ():
                members.setdefault(groups[i], []).append(i)
            if len(members) > 1:
                self.target = by_group(self.target, self._by_group(logits, members), self.held, self.names)
        self._say(self.target)

    def _by_group(self, logits: Tensor, members: dict[str, list[int]]) -> Iterator[tuple[str, int, Tensor]]:
        """Name, size, and calibrated log probabilities of each group in turn, so that only one is in memory."""
        for group, own in sorted(members.items()):
            yield group, len(own), self._seen(logits, part(torch.tensor(own), logits.shape[1], OF_GROUP))[0]

    def _seen(self, logits: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrated log probabilities (n, C) float32 of some images, free of any prior, and predictions (n,) before that."""
        free = (self._free(logits[some]) for some in torch.split(rows, max(AT_ONCE // logits.shape[1], 1)))
        calibrated, predictions = zip(*((self.calibration(one).float(), one.argmax(1)) for one in free), strict=True)
        return torch.cat(calibrated), torch.cat(predictions)

    def _say(self, target: Target) -> None:
        """Fill ``said`` and ``summary``."""
        given = self.about.get("calibration")
        why = "no calibration: the run had no validation split, or is of an older version"
        self.said = self._said(target.about, given or why)
        kind = target.about["kind"]
        parts = [f"under {WORDS.get(kind, f'the prior of {kind}')}"]
        if "groups" in target.about:
            parts[0] += f" of each of {len(target.about['groups'])} groups"
        if target.about.get("apart", 0) > max(APART, target.about.get("apart_by_chance", 0)):
            parts.append(f"two ways to estimate it are {target.about['apart']:.0%} apart, so trust it little")
        parts.append(f"calibrated by {given['method']}" if given else why)
        if self.thresholds is not None:
            basis = {name: self.thresholds.basis.count(name) for name in ("class", "many", "medium", "few", "all", "none")}
            self.said["sets"] = {"coverage": self.wishes.sets, "thresholds_from": basis}
        if self.least is not None and self.held is not None:
            alarms = conformal.false_alarms(self.held, self.least, self.counts)
            self.said["abstain"] = {
                "rate": self.wishes.abstain,
                "energy_below": self.least,
                "false_alarms_on_validation": alarms,
            }
        self.summary = "; ".join(parts)

    def _part(self, free: Tensor, own: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """See `Answering`."""
        assert self.target is not None
        log_shares = {group: share.log() for group, share in self.target.shares.items()}
        priors = torch.stack([log_shares.get(group, log_shares[""]) for _, group in own])
        probabilities = (self.calibration(free) + priors).softmax(-1)
        best, order = probabilities.topk(self.top)
        inside = low = None
        if self.thresholds is not None:
            inside = conformal.sets(free, self.thresholds) & (priors > -torch.inf)
            inside.scatter_(1, order[:, :1], True)
        if self.least is not None:
            low = (conformal.energy(free) < self.least).tolist()
        for i, (name, group) in enumerate(own):
            row = {"path": name, "group": group, **self._likeliest(best[i].tolist(), order[i].tolist())}
            if inside is not None:
                members = inside[i].nonzero()[:, 0]
                row["set"] = [self.names[c] for c in members[probabilities[i, members].argsort(descending=True)].tolist()]
            if low is not None:
                row["abstain"] = low[i]
            yield row
