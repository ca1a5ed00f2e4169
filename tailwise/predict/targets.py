"""The class shares that predictions are made for: uniform, those of training, a file's, or estimated from the images."""

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tailwise import priors
from tailwise.conformal import HeldOut
from tailwise.counts import absent, log_prior
from tailwise.data.cells import unguarded
from tailwise.losses.binary_cross_entropy import log_odds
from tailwise.types import TailwiseError

REPLICATES, LEVEL, SEED = 200, 0.95, 0
"""Of the bootstrap that gives the intervals of estimated shares."""
NUMBERS, IMAGES, OF_GROUP = 2**25, 50_000, 5_000
"""Of more logits, more images, or more of a group, a random part is read for an estimate."""
APART = 0.2
"""Total variation between two estimates above which neither is to be trusted, unless chance alone explains more."""


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
                name, where = unguarded(cells["class"] or ""), f"{path}, line {reader.line_num}"
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


def part(rows: Tensor, classes: int, most: int = IMAGES) -> Tensor:
    """Of too many numbers of images a random part, in their order."""
    limit = min(max(NUMBERS // classes, 1), most)
    if len(rows) > limit:
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))[:limit].sort().values]
    return rows


def estimated(
    calibrated: Tensor, predictions: Tensor, held: HeldOut | None, names: Sequence[str], counts: Tensor | None = None
) -> Target:
    """Shares that fit unlabelled images, by `priors.estimate`; the guesses are equal shares and those of training.

    Intervals are those of `REPLICATES` replicates, in which images count as `priors.worth` says: so errors of a calibration
    on the held-out samples are in them. Shares that the guesses have pulled out of an interval widen it. `priors.bbse` stands
    beside it, where there are held-out samples. It serves as a check and is not used: ``apart`` is the share of images that
    the two see in different classes, half the sum of |differences|; ``apart_by_chance`` its mean between BBSE and replicates.

    ``calibrated`` (N, C) log probabilities free of any prior, −inf for a class that cannot occur, ``predictions`` (N,) of a
    uniform prior; training ``counts`` (C,), without which equal shares are the only guess.
    """
    possible = calibrated[0] > -torch.inf
    guesses = [possible.double()] if counts is None else [possible.double(), log_prior(counts).exp() * possible]
    everyone, said = _near(calibrated, torch.stack(guesses), held, names)
    about: dict[str, Any] = {"kind": "estimate", "by": "em", **said}
    if held is not None:
        times = priors.resamples(len(predictions), REPLICATES, SEED)
        drawn = times.new_zeros(REPLICATES, len(possible)).scatter_add_(1, predictions.expand(REPLICATES, -1), times)
        weights = priors.resamples(len(held.labels), REPLICATES, SEED + 1)
        place = possible.cumsum(0) - 1  # among the classes that are possible
        confusion = place[held.predictions], place[held.labels]
        own = priors.bbse(*confusion, predictions.bincount(minlength=len(possible))[possible])
        again = priors.bbse(*confusion, drawn[:, possible], weights=weights)
        ends = priors.interval(again, len(predictions), LEVEL)
        shares, low, high = (_among(possible, values) for values in (own, *ends))
        about["apart"] = round(float((shares - everyone).abs().sum() / 2), 3)
        about["apart_by_chance"] = round(float((again - own).abs().sum(1).mean() / 2), 3)
        about["bbse"] = _table(shares, low, high, names)
    return Target({"": everyone}, about)


def by_group(everyone: Target, groups: Iterable[tuple[str, int, Tensor]], held: HeldOut | None, names: Sequence[str]) -> Target:
    """The same for each group of images, where the shares of all are the guess: a small group nearly gets these.

    ``groups``: name, number of images, and the calibrated log probabilities of them or of a `part`.
    """
    shares, said = dict(everyone.shares), {}
    for group, images, calibrated in groups:
        shares[group], own = _near(calibrated, shares[""][None], held, names)
        said[group] = {"images": images, **own}
    return Target(shares, {**everyone.about, "groups": said})


def _near(logits: Tensor, guesses: Tensor, held: HeldOut | None, names: Sequence[str]) -> tuple[Tensor, dict[str, Any]]:
    """Shares (C,), and what the sidecar says of them."""
    possible = guesses[0] > 0
    own, around = logits[:, possible], guesses[:, possible] / guesses.sum(1, keepdim=True)
    weight = 1.0 if held is None else priors.worth(own, held.labels.bincount(minlength=len(possible))[possible])
    found, size = priors.estimate(own, around, weight), weight * len(own)
    low, high = priors.interval(priors.replicates(own, weight, REPLICATES, SEED), size, LEVEL)
    shares, low, high = (_among(possible, values) for values in (found, low.minimum(found), high.maximum(found)))
    return shares, {"read": len(own), "count_as": round(size), "shares": _table(shares, low, high, names)}


def _among(possible: Tensor, shares: Tensor) -> Tensor:
    """Shares of those classes that are possible, 0 for the others: (C,)."""
    return shares.new_zeros(len(possible)).masked_scatter(possible, shares)


def _table(shares: Tensor, low: Tensor, high: Tensor, names: Sequence[str]) -> dict[str, Any]:
    columns = zip(names, shares.tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: {"share": round(s, 6), "low": round(a, 6), "high": round(b, 6)} for name, s, a, b in columns}
