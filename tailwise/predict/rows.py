"""From logits to the rows of the table: prior, calibration, sets, and images like no class."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tailwise import calibrate, conformal
from tailwise.counts import absent
from tailwise.models.saved import ABOUT
from tailwise.predict.inputs import printable
from tailwise.predict.targets import APART, Target, estimated, fixed, readable_part
from tailwise.priors import adjust
from tailwise.types import TailwiseError

AT_ONCE = 2**20
"""Logits that are turned into rows at once."""


class Answering:
    """What a run and the user's wishes make of logits; everything that can be refused is refused when it is made.

    ``columns`` are the table's, ``said`` is what the sidecar says, ``summary`` the same in a line; the latter two are there
    after `meet`. The arguments are those of `tailwise.predict.classify`; ``about`` is the run's ``model.json``.
    """

    def __init__(
        self,
        run: str | Path,
        about: dict[str, Any],
        top: int,
        prior: str,
        per_group: str | None,
        sets: float | None,
        abstain: float | None,
    ) -> None:
        if "decoder" in about["network"]:
            raise TailwiseError(f"{run}: its network labels pixels, not whole images; see `tailwise.predict.segment`")
        needed = ("classes", "image_size", "normalisation", "train_counts", "carried_log_prior")
        if missing := [key for key in needed if key not in about]:
            raise TailwiseError(f"{run}: its {ABOUT} says nothing about {' and '.join(missing)}; train the run again")
        if per_group is not None and prior != "estimate":
            raise TailwiseError("predict: --per-group estimates a prior for each group, so it needs --prior estimate")
        self.about, self.run, self.per_group = about, str(run), per_group
        self.names = [printable(name) for name in about["classes"]]
        if prior == "train" and about["train_counts"] is None:
            raise TailwiseError(f"{run}: its training counts are unknown (a converted checkpoint); give another --prior")
        self.counts = torch.tensor(about["train_counts"] or [1] * len(self.names))
        self.carried = torch.tensor(about["carried_log_prior"])
        self.absent = absent(self.counts)
        self.held = conformal.read(Path(run))
        self.calibration = self._calibration()
        self.target = None if prior == "estimate" else fixed(prior, self.names, self.counts)
        self.top, self.coverage, self.rate = min(top, len(self.names)), sets, abstain
        self.thresholds = None if sets is None else conformal.thresholds(self._held("sets"), self.counts, sets)
        self.least = None if abstain is None else conformal.least_energy(self._held("abstain"), abstain)
        ranked = ["class", "probability", *(f"{of}_{k}" for k in range(2, self.top + 1) for of in ("class", "probability"))]
        self.columns: dict[str, type] = {"path": str, **({} if per_group is None else {"group": str})}
        self.columns |= {name: float if "probability" in name else str for name in ranked}
        self.columns |= {**({} if sets is None else {"set": list}), **({} if abstain is None else {"abstain": bool})}
        self.said: dict[str, Any] = {}
        self.summary = ""

    def _held(self, what: str) -> conformal.HeldOut:
        if self.held is None:
            raise TailwiseError(
                f"{self.run}: --{what} needs {conformal.FILE}, which a run writes that has a validation split; train it again "
                "with --data.validation 0.1"
            )
        return self.held

    def _calibration(self) -> calibrate.Calibration:
        if not (given := self.about.get("calibration")):
            return calibrate.IDENTITY
        scale, bias = (torch.tensor(given[key], dtype=torch.float64) for key in ("scale", "bias"))
        return calibrate.Calibration(given["method"], scale, bias)

    def _free(self, logits: Tensor) -> Tensor:
        """(n, C) float64 free of any prior."""
        return adjust(logits.double(), self.carried, absent=self.absent)

    def meet(self, logits: Tensor, groups: Sequence[str]) -> None:
        """Take note of all images, (N, C), and their groups: estimate their prior if that is asked for."""
        if self.target is None:
            rows = readable_part(logits)
            free = self._free(logits[rows])
            kinds = [groups[i] for i in rows.tolist()] if self.per_group is not None else [""] * len(rows)
            self.target = estimated(self.calibration(free), free.argmax(1), kinds, self.held, self.names)
        self._say(self.target)

    def _say(self, target: Target) -> None:
        """Fill ``said`` and ``summary``."""
        given = self.about.get("calibration")
        why = "no calibration: the run had no validation split, or is of an older version"
        self.said = {
            "run": self.run,
            "columns": list(self.columns),
            "prior": target.about,
            "calibration": given or why,
        }
        words = {"uniform": "a uniform prior (every class alike)", "train": "the prior of training"}
        kind = target.about["kind"]
        parts = [f"under {words.get(kind, 'an estimated prior' if kind == 'estimate' else f'the prior of {kind}')}"]
        if "groups" in target.about:
            parts[0] += f" of each of {len(target.about['groups'])} groups"
        if target.about.get("apart", 0) > APART:
            parts.append(f"two ways to estimate it are {target.about['apart']:.0%} apart, so trust it little")
        parts.append(f"calibrated by {given['method']}" if given else why)
        if self.thresholds is not None:
            basis = {name: self.thresholds.basis.count(name) for name in ("class", "many", "medium", "few", "all", "none")}
            self.said["sets"] = {"coverage": self.coverage, "thresholds_from": basis}
        if self.least is not None and self.held is not None:
            alarms = conformal.false_alarms(self.held, self.least, self.counts)
            self.said["abstain"] = {"rate": self.rate, "energy_below": self.least, "false_alarms_on_validation": alarms}
        self.summary = "; ".join(parts)

    def rows(self, logits: Tensor, names: Sequence[str], groups: Sequence[str]) -> Iterator[dict[str, Any]]:
        """A row for each image that could be read: (N, C), what it is called, its group."""
        assert self.target is not None
        log_shares = {group: share.log() for group, share in self.target.shares.items()}
        step = max(AT_ONCE // logits.shape[1], 1)
        for start in range(0, len(names), step):
            part = slice(start, start + step)
            readable = (~logits[part, 0].isnan()).nonzero()[:, 0]
            own = [(names[start + i], groups[start + i]) for i in readable.tolist()]
            if own:
                priors = torch.stack([log_shares.get(group, log_shares[""]) for _, group in own])
                yield from self._part(self._free(logits[part][readable]), priors, own)

    def _part(self, free: Tensor, priors: Tensor, own: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        probabilities = (self.calibration(free) + priors).softmax(-1)
        best, order = probabilities.topk(self.top)
        inside = low = None
        if self.thresholds is not None:
            inside = conformal.sets(free, self.thresholds) & (priors > -torch.inf)
            inside.scatter_(1, order[:, :1], True)
        if self.least is not None:
            low = (conformal.energy(free) < self.least).tolist()
        for i, (name, group) in enumerate(own):
            row: dict[str, Any] = {"path": name, "group": group}
            for k, (p, c) in enumerate(zip(best[i].tolist(), order[i].tolist(), strict=True), start=1):
                tail = "" if k == 1 else f"_{k}"
                row[f"class{tail}"], row[f"probability{tail}"] = self.names[c], round(p, 6)
            if inside is not None:
                members = inside[i].nonzero()[:, 0]
                row["set"] = [self.names[c] for c in members[probabilities[i, members].argsort(descending=True)].tolist()]
            if low is not None:
                row["abstain"] = low[i]
            yield row
