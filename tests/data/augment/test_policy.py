"""AutoAugment and RandAugment against torchvision's: every operation at every magnitude, and what is drawn how often."""

from collections import Counter
from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from tailwise import rng
from tailwise.data.augment import AutoAugment, RandAugment, policy
from tailwise.data.augment.policy import FAMILIES, OPS, SIGNED, apply, magnitudes

FILL = (124, 116, 104)
THEIRS: dict[str, Any] = {
    "cifar": v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, fill=list(FILL)),
    "imagenet": v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET, fill=list(FILL)),
    "randaugment": v2.RandAugment(2, 21, fill=list(FILL)),
}
OURS: dict[str, AutoAugment | RandAugment] = {
    "cifar": AutoAugment(policy.CIFAR10, FILL),
    "imagenet": AutoAugment(policy.IMAGENET, FILL),
    "randaugment": RandAugment(2, 21, FILL),
}
NEAREST = InterpolationMode.NEAREST
SIDES = [(24, 31), (20, 20)]


@pytest.mark.parametrize("bins", [10, 31])
def test_magnitudes_are_torchvisions(bins: int) -> None:
    space = v2.AutoAugment._AUGMENTATION_SPACE | v2.RandAugment._AUGMENTATION_SPACE
    assert {name: signed for name, (_, signed) in space.items()} == {name: name in SIGNED for name in OPS}
    for name, (theirs, _) in space.items():
        expected = theirs(bins, 24, 31)
        expected = torch.zeros(bins) if expected is None else expected
        assert torch.equal(magnitudes(bins, 24, 31)[OPS.index(name)], expected.double())


@pytest.mark.parametrize("name", ["cifar", "imagenet"])
def test_policies_are_torchvisions(name: str) -> None:
    theirs = [[(op, probability, strength or 0) for op, probability, strength in sub] for sub in THEIRS[name]._policies]
    assert [[*sub] for sub in OURS[name].policy] == theirs  # type: ignore[union-attr]


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("name", OPS)
def test_every_operation_equals_torchvisions_at_every_magnitude(pictures: Tensor, name: str, sides: tuple[int, int]) -> None:
    pixels = pictures[:, :, : sides[0], : sides[1]].contiguous()
    n, number, theirs = len(pixels), OPS.index(name), THEIRS["cifar"]
    strengths = torch.cat([magnitudes(bins, *sides)[number] for bins in (10, 31)])
    strengths = (torch.cat([strengths, -strengths]) if name in SIGNED else strengths).unique()
    op = torch.full((n * len(strengths),), number)
    out = apply(pixels.repeat(len(strengths), 1, 1, 1), op, strengths.repeat_interleave(n), FILL)
    for magnitude, ours in zip(strengths.tolist(), out.split(n), strict=True):
        expected = theirs._apply_image_or_video_transform(pixels, name, magnitude, NEAREST, theirs._fill)
        assert torch.equal(ours, expected), magnitude


def test_each_picture_gets_its_own_operation(pictures: Tensor) -> None:
    op = rng.integers(len(OPS), 3, torch.arange(len(pictures)))
    magnitude = magnitudes(10, 24, 31)[op, 7]
    out, before = apply(pictures, op, magnitude, FILL), pictures.clone()
    for i in range(len(pictures)):
        assert torch.equal(out[i : i + 1], apply(pictures[i : i + 1], op[i : i + 1], magnitude[i : i + 1], FILL))
    assert torch.equal(pictures, before)
    assert (out[op == 0] == pictures[op == 0]).all()
    assert len({*op.tolist()}) > len(FAMILIES)


Sequence = tuple[tuple[str, float], ...]
"""The operations that changed a picture, in order, and their magnitudes."""


def _ours(name: str, n: int) -> Counter[Sequence]:
    step = OURS[name]
    op, magnitude = step.drawn(rng.uniform(11, torch.arange(step.draws)[:, None], torch.arange(n)), 24, 31)
    pairs = zip(op.T.tolist(), magnitude.T.tolist(), strict=True)
    return Counter(tuple((OPS[o], round(m, 4)) for o, m in zip(*pair, strict=True) if o) for pair in pairs)


def _theirs(monkeypatch: pytest.MonkeyPatch, name: str, n: int) -> Counter[Sequence]:
    applied: list[tuple[str, float]] = []

    def record(image: Tensor, op: str, magnitude: float, *_: object, **__: object) -> Tensor:
        applied.extend([(op, round(magnitude, 4))] if op != "Identity" else [])
        return image

    monkeypatch.setattr(THEIRS[name], "_apply_image_or_video_transform", record)
    counts: Counter[Sequence] = Counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for _ in range(n):
            applied.clear()
            THEIRS[name](torch.zeros(3, 24, 31, dtype=torch.uint8))
            counts[tuple(applied)] += 1
    return counts


def _outcomes(sub: policy.SubPolicy) -> dict[Sequence, float]:
    """Every sequence that a sub-policy can give, and its probability."""
    out: dict[Sequence, float] = {(): 1.0}
    for name, probability, strength in sub:
        value = round(float(magnitudes(10, 24, 31)[OPS.index(name), strength]), 4)
        signs = [1, -1] if name in SIGNED and value else [1]
        happens = [(((name, sign * value),), probability / len(signs)) for sign in signs] + [((), 1 - probability)]
        after: Counter[Sequence] = Counter()
        for (before, p), (more, q) in [(b, m) for b in out.items() for m in happens]:
            after[before + more] += p * q  # type: ignore[assignment]
        out = dict(after)
    return out


@pytest.mark.parametrize("name", ["cifar", "imagenet"])
def test_draws_follow_the_policys_probabilities(name: str) -> None:
    n, expected = 20_000, Counter[Sequence]()
    for sub in OURS[name].policy:  # type: ignore[union-attr]
        for sequence, probability in _outcomes(sub).items():
            expected[sequence] += n * probability / 25  # type: ignore[assignment]
    drawn = _ours(name, n)
    assert not {*drawn} - {sequence for sequence, many in expected.items() if many > 0}
    common = {sequence: many for sequence, many in expected.items() if many >= 5}
    rest = n - sum(common.values()), n - sum(drawn[sequence] for sequence in common)
    statistic = sum((drawn[sequence] - many) ** 2 / many for sequence, many in common.items()) + (rest[1] - rest[0]) ** 2 / max(
        rest[0], 1
    )
    assert chi2.sf(statistic, len(common)) > 1e-3


@pytest.mark.parametrize("name", [*OURS])
def test_draws_are_distributed_as_torchvisions(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    n, m = 20_000, 3_000
    ours, theirs = _ours(name, n), _theirs(monkeypatch, name, m)
    common = [sequence for sequence in ours if ours[sequence] + theirs[sequence] >= 30]
    rest = n - sum(ours[sequence] for sequence in common), m - sum(theirs[sequence] for sequence in common)
    pairs = [(ours[sequence], theirs[sequence]) for sequence in common] + [rest] * (sum(rest) > 0)
    statistic = sum((a * (m / n) ** 0.5 - b * (n / m) ** 0.5) ** 2 / (a + b) for a, b in pairs)
    assert len(pairs) > 40
    assert chi2.sf(statistic, len(pairs) - 1) > 1e-3
