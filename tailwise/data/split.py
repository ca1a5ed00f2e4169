"""A part of the training images held out, class by class."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tailwise.counts import turns
from tailwise.data.source import class_name
from tailwise.rng import permutation, uniform
from tailwise.types import TailwiseError

SWEEPS = 3
"""How often all groups are looked at again, once each class has something held."""


def hold_out(
    labels: Tensor,
    fraction: float,
    seed: int,
    groups: Sequence[str] | None = None,
    names: Sequence[str] = (),
    least: int = 1,
) -> tuple[Tensor, Tensor]:
    """Indices (kept, held) into ``labels`` (N,), each sorted: about ``fraction`` of each class is held, at least one image.

    With ``groups`` (N,) all images of a group go to one side, and each class keeps and holds at least one image; the
    shares are then only near the fraction. With ``least`` = 0 a class that cannot be split is kept whole, so the rarest
    classes may have nothing held. A function of its arguments alone; ``names`` only serve the errors. Raises
    `TailwiseError` for a fraction outside (0, 1), and with ``least`` = 1 for a class with fewer than two images (or groups).
    """
    if not 0 < fraction < 1:
        raise TailwiseError(f"hold out: the fraction must lie between 0 and 1, got {fraction}")
    counts = torch.bincount(labels)
    if least and (few := (counts == 1).nonzero()).numel():
        raise TailwiseError(
            f"hold out: class {class_name(int(few[0]), names)} has 1 image, a split needs at least 2; add one, or give "
            "the split"
        )
    wanted = (counts * fraction).round().to(torch.int64).clamp(min=1).minimum(counts - 1)
    held = torch.zeros(len(labels), dtype=torch.bool)
    if groups is None:
        c, turn = torch.arange(len(counts)).repeat_interleave(counts), turns(counts)
        drawn = uniform(seed, c, turn).argsort(stable=True)  # of each class what `permutation` with its number would say
        drawn = drawn[c[drawn].argsort(stable=True)]
        held[labels.argsort(stable=True)[drawn[turn < wanted[c]]]] = True
    else:
        chosen = _held_groups(labels, counts, wanted, seed, groups, names, least)
        held = torch.tensor([group in chosen for group in groups])
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]


def bursts(places: Sequence[tuple[Path, Path]]) -> list[str] | None:
    """The group of each image of ``places`` (its class folder, its file): the folder below the class folder that it lies in.

    Such folders are sequences or sites, so folders of one name are one group whatever their class, and an image that lies
    in its class folder itself is a group of its own. None where no class has two such folders: then they are mere layout.
    """
    below = [file.relative_to(root).parts[:-1][:1] for root, file in places]
    of_class: defaultdict[Path, set[str]] = defaultdict(set)
    for (root, _), folder in zip(places, below, strict=True):
        of_class[root].update(folder)
    if not any(len(folders) > 1 for folders in of_class.values()):
        return None
    return [folder[0] if folder else str(file) for (_, file), folder in zip(places, below, strict=True)]


def _held_groups(
    labels: Tensor, counts: Tensor, wanted: Tensor, seed: int, groups: Sequence[str], names: Sequence[str], least: int
) -> set[str]:
    """Greedy: first, rarest class first, one group for each class that has none; then groups change sides while that helps.

    Of the groups of a class the one is taken that brings all of its classes nearest to what is wanted. The distance is
    Σ_c ((held − wanted) / samples of c)², so that all classes count alike.
    """
    inside: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for group, label in zip(groups, labels.tolist(), strict=True):
        inside[group][label] += 1
    of_class: defaultdict[int, list[str]] = defaultdict(list)
    every = sorted(inside)
    for group in every:
        for c in inside[group]:
            of_class[c].append(group)
    size, aim = counts.tolist(), wanted.tolist()
    have: Counter[int] = Counter()
    chosen: set[str] = set()

    def nearer(group: str) -> float:
        """By how much the distance shrinks when the group changes sides; −inf where a class would lose its last image there."""
        sign, gain = -1 if group in chosen else 1, 0.0
        for c, n in inside[group].items():
            after = have[c] + sign * n
            if not 0 < after < size[c]:
                return -math.inf
            gain += ((have[c] - aim[c]) / size[c]) ** 2 - ((after - aim[c]) / size[c]) ** 2
        return gain

    def move(group: str) -> None:
        change = have.subtract if group in chosen else have.update
        change(inside[group])
        chosen.symmetric_difference_update({group})

    for c in sorted(of_class, key=lambda c: size[c]):
        shuffled = [of_class[c][i] for i in permutation(len(of_class[c]), seed, c).tolist()]
        if not have[c] and nearer(best := max(shuffled, key=nearer)) > -math.inf:
            move(best)
        if have[c] < least:
            raise TailwiseError(
                f"hold out: class {class_name(c, names)} cannot be split without tearing a group of images apart; it needs "
                "images in at least 2 groups"
            )
    for _ in range(SWEEPS):
        for i in permutation(len(every), seed, len(size)).tolist():
            if nearer(every[i]) > 0:
                move(every[i])
    return chosen
