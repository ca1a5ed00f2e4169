"""The class shares that predictions are made for: uniform, those of training, a file's, or estimated from the images."""

import csv
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tailwise import priors
from tailwise.conformal import HeldOut
from tailwise.counts import absent, log_prior
from tailwise.losses.binary_cross_entropy import log_odds
from tailwise.types import TailwiseError

REPLICATES, LEVEL, SEED = 200, 0.95, 0
"""Of the bootstrap that gives the intervals of estimated shares."""
NUMBERS, IMAGES = 2**23, 50_000
"""Of more logits, or more images, a random part of the images is read for an estimate."""
ADDED = 0.1
"""Images that an estimate by EM gets in equal shares, per image; see docs/predict.md for what that is worth."""
APART = 0.2
"""Total variation between two estimates above which neither is to be trusted."""
ROUGH = 1e-4
"""A replicate starts at the estimate, and need not be as exact: its spread is a hundred times that."""


class Target(NamedTuple):
    """Shares for groups of images, and what the sidecar says of them."""

    shares: Mapping[str, Tensor]  # (C,) float64 by group; "" serves all others
    about: dict[str, Any]


class Rule(NamedTuple):
    """What ``--prior`` may be for a kind of run."""

    words: str  # that are known
    most: float  # a share in a file
    share: str  # what it is


ONE_CLASS = Rule("uniform, train or estimate", torch.finfo(torch.float64).max, "a number of at least 0")
SEVERAL = Rule("uniform or train", 1.0, "a probability in [0, 1] of the class in an image")


def fixed(kind: str, names: Sequence[str], counts: Tensor) -> Target:
    """``uniform``, ``train``, or a file: CSV with the columns class and share, where shares are any numbers ≥ 0.

    A class that training lacked has share 0 whatever the prior says. Raises `TailwiseError` for a file that is not there,
    lacks a column or class, names a class twice or an unknown one, or has shares that are no numbers ≥ 0 or all 0.
    """
    given = {"uniform": torch.ones(len(names)).double(), "train": log_prior(counts).exp()}
    shares = _trained(kind, given[kind] if kind in given else _file(Path(kind), names, ONE_CLASS), counts)
    return _target(kind, names, shares / shares.sum())


def positives(kind: str, names: Sequence[str], counts: Tensor, samples: int) -> Target:
    """The same where images have several labels or none: a share is the probability of the class in an image.

    Their sum is the number of labels that an image is expected to have. ``uniform`` is ½ for each class, ``train`` follows
    from the positives ``counts`` (C,) among so many ``samples``; a file has shares in [0, 1].
    """
    given = {"uniform": torch.full((len(names),), 0.5).double(), "train": log_odds(counts, samples).sigmoid()}
    shares = given[kind] if kind in given else _file(Path(kind), names, SEVERAL)
    return _target(kind, names, _trained(kind, shares, counts))


def _trained(kind: str, shares: Tensor, counts: Tensor) -> Tensor:
    """The shares (C,), 0 for classes that training lacked."""
    shares = shares.masked_fill(absent(counts), 0)
    if not float(shares.sum()):
        raise TailwiseError(f"{kind}: every class that has a share there was absent from training; give others")
    return shares


def _target(kind: str, names: Sequence[str], shares: Tensor) -> Target:
    table = {name: round(share, 6) for name, share in zip(names, shares.tolist(), strict=True)}
    return Target({"": shares}, {"kind": kind, "shares": table})


def _file(path: Path, names: Sequence[str], rule: Rule) -> Tensor:
    if not path.is_file():
        raise TailwiseError(f"--prior {path}: not a file, nor {rule.words}; give one of these")
    found: dict[str, float] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            if not {"class", "share"} <= set(reader.fieldnames or ()):
                raise TailwiseError(f"{path}: needs the columns class and share, has {', '.join(reader.fieldnames or ())}")
            for cells in reader:
                name, where = cells["class"], f"{path}, line {reader.line_num}"
                if name in found or name not in names:
                    near = difflib.get_close_matches(str(name), names, n=1)
                    hint = "it is there twice" if name in found else f"did you mean {near[0]!r}?" if near else "no such class"
                    raise TailwiseError(f"{where}: class {name!r}: {hint}")
                found[name] = _share(cells["share"], where, rule)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TailwiseError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    if lacking := [name for name in names if name not in found]:
        raise TailwiseError(f"{path}: no share of {len(lacking)} classes, the first is {lacking[0]!r}; write 0 for none")
    if not sum(found.values()):
        raise TailwiseError(f"{path}: all shares are 0; give at least one class a share")
    return torch.tensor([found[name] for name in names], dtype=torch.float64)


def _share(text: str | None, where: str, rule: Rule) -> float:
    try:
        share = float(text or "")
    except ValueError:
        share = -1.0
    if not 0 <= share <= rule.most:
        raise TailwiseError(f"{where}: share {text!r} is not {rule.share}")
    return share


def readable_part(logits: Tensor) -> Tensor:
    """Numbers of the rows of (N, C) without NaN, in their order; of too many a random part."""
    rows = (~logits[:, 0].isnan()).nonzero()[:, 0]
    limit = min(max(NUMBERS // logits.shape[1], 1), IMAGES)
    if len(rows) > limit:
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))[:limit].sort().values]
    return rows


def estimated(
    calibrated: Tensor, predictions: Tensor, groups: Sequence[str], held: HeldOut | None, names: Sequence[str]
) -> Target:
    """Shares that fit unlabelled images: `priors.em`, for all of them and, where there are several groups, for each.

    EM gets images more, `ADDED` times their number and at least one a class: in equal shares for all images, and for a group
    in the shares of all. So few images decide little, and a class that the model is wrong about does not take the others'
    shares. `priors.bbse` of all images stands beside it, where there are held-out samples. It serves as a check and is not
    used: ``apart`` is the share of images that the two see in different classes, half the sum of |differences|. Intervals
    are those of `REPLICATES` bootstrap samples, of images for EM, of images and held-out samples for BBSE; errors of the
    calibration are not in them.

    ``calibrated`` (N, C) log probabilities free of any prior, ``predictions`` (N,) of a uniform prior, ``groups`` of length N.
    """
    classes = calibrated.shape[1]
    everyone, table = _em(calibrated, torch.ones(classes).double() / classes, names)
    about: dict[str, Any] = {"kind": "estimate", "by": "em", "images": len(calibrated), "shares": table}
    if held is not None:
        observed = predictions.bincount(minlength=classes)
        again = priors.resamples(len(predictions), REPLICATES, SEED)
        drawn = torch.zeros(REPLICATES, classes).double().scatter_add_(1, predictions.expand(REPLICATES, -1), again)
        shares = priors.bbse(held.predictions, held.labels, observed)
        weights = priors.resamples(len(held.labels), REPLICATES, SEED + 1)
        about["apart"] = round(float((shares - everyone).abs().sum() / 2), 3)
        about["bbse"] = _table(shares, priors.bbse(held.predictions, held.labels, drawn, weights=weights), names)
    shares_of = {"": everyone}
    if len(kinds := sorted(set(groups))) > 1:
        about["groups"] = {}
    for group in kinds if len(kinds) > 1 else ():
        own = calibrated[torch.tensor([g == group for g in groups])]
        shares_of[group], table = _em(own, everyone, names)
        about["groups"][group] = {"images": len(own), "shares": table}
    return Target(shares_of, about)


def _em(logits: Tensor, around: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Any]]:
    pseudo = around * max(ADDED * len(logits), len(around))
    shares = priors.em(logits, pseudo)
    weights = priors.resamples(len(logits), REPLICATES, SEED)
    return shares, _table(shares, priors.em(logits, pseudo, weights, shares, ROUGH), names)


def _table(shares: Tensor, replicates: Tensor, names: Sequence[str]) -> dict[str, Any]:
    low, high = priors.interval(replicates, LEVEL)
    columns = zip(names, shares.tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: {"share": round(s, 6), "low": round(a, 6), "high": round(b, 6)} for name, s, a, b in columns}
