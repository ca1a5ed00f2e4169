"""Nearest means, margins, alignment and uniformity against loops and closed forms."""

import math

import pytest
import torch
from metrics.clouds import directions, gaussian, labelled
from metrics.test_geometry import value
from torch import Tensor

from tailwise.metrics.neighbours import alignment, evenly, nearest_mean, uniformity
from tailwise.types import TailwiseError

COUNTS = [200, 30, 4, 1]
TRAIN, TEST = labelled(40, 30, 4, 1), labelled(11, 11, 11, 11)


def slow_margins(x: Tensor, y: Tensor, means: list[Tensor]) -> list[float]:
    """cos to the own mean minus the largest to another, sample by sample."""
    cosines = [[float(z @ m / z.norm() / m.norm()) for m in means] for z in x]
    return [row[c] - max(row[:c] + row[c + 1 :]) for row, c in zip(cosines, y.tolist(), strict=True)]


def test_nearest_means_and_margins_of_test_samples() -> None:
    means = directions(4, 6)
    train, test = gaussian(TRAIN, means, 0.4, 1), gaussian(TEST, means, 0.4, 2)
    found = nearest_mean(train, TRAIN, COUNTS, test, TEST, replicates=50)
    unit = train / train.norm(dim=1, keepdim=True)
    expected = torch.tensor(slow_margins(test, TEST, [unit[c == TRAIN].mean(0) for c in range(4)])).view(4, 11)
    recall = (expected > 0).double().mean(1)
    assert value(found["nearest_mean"]) == pytest.approx(float(recall.mean()))
    assert value(found["nearest_mean"], "few") == pytest.approx(float(recall[2:].mean()))
    assert value(found["margin"]) == pytest.approx(float(expected.sort(1).values[:, 1].mean()))  # ⌈0.1 · 11⌉ = 2nd
    assert {0 < value(found["nearest_mean"]) < 1} == {True}


def test_training_samples_are_no_part_of_their_own_mean() -> None:
    train = gaussian(TRAIN, directions(4, 6), 0.6, 1)
    unit = train / train.norm(dim=1, keepdim=True)
    margins = []
    for i in range(len(train)):
        rest = torch.arange(len(train)) != i
        means = [
            unit[rest & (c == TRAIN)].mean(0) if int((rest & (c == TRAIN)).sum()) else torch.full((6,), 1e-9).double()
            for c in range(4)
        ]
        margins += slow_margins(unit[i : i + 1], TRAIN[i : i + 1], means)
    found = nearest_mean(train, TRAIN, COUNTS, replicates=5)
    few = torch.tensor(margins)[TRAIN == 2]
    assert found["nearest_mean"]["few"] is not None
    assert found["nearest_mean"]["few"]["classes"] == 1  # the class of one sample has no mean without it
    assert value(found["nearest_mean"], "few") == pytest.approx(float((few > 0).double().mean()))
    assert found["margin"]["few"] is None  # four samples have no tenth percentile
    many = torch.tensor(margins)[TRAIN == 0].sort().values
    assert value(found["margin"], "many") == pytest.approx(float(many[3]))


def test_classes_without_a_training_sample_are_left_out_and_widths_compared() -> None:
    means = directions(4, 6)
    train, test = gaussian(TRAIN[:-1], means, 0.1), gaussian(TEST, means, 0.1)
    found = nearest_mean(train, TRAIN[:-1], [200, 30, 4, 0], test, TEST, replicates=5)["nearest_mean"]["few"]
    assert found is not None
    assert found["classes"] == 1
    with pytest.raises(TailwiseError, match="6 and 5 numbers"):
        nearest_mean(train, TRAIN[:-1], COUNTS, test[:, :5], TEST)


def test_views_at_a_known_angle() -> None:
    angle = torch.tensor([0.0, 0.5, 1.0, math.pi])[TEST].double()
    first = torch.stack([torch.ones_like(angle), torch.zeros_like(angle)], 1)
    second = 7 * torch.stack([angle.cos(), angle.sin()], 1)
    found = alignment(first, second, TEST, COUNTS, replicates=5)
    assert value(found, "medium") == pytest.approx(2 - 2 * math.cos(0.5))
    assert value(found, "few") == pytest.approx((2 - 2 * math.cos(1) + 4) / 2)


@pytest.mark.parametrize("n", [4, 150])
def test_uniformity_of_the_uniform_distribution_does_not_depend_on_the_samples(n: int) -> None:
    classes = 1800 // n
    y = labelled(*[n] * classes)
    found = uniformity(directions(len(y), 3), y, [n] * classes, replicates=20)
    assert value(found) == pytest.approx(-4 + math.log(math.sinh(4) / 4), abs=0.05)


def test_uniformity_weighs_classes_alike_and_points_have_none() -> None:
    y = labelled(30, 2)
    ends = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).double()
    found = uniformity(ends[y], y, [200, 2], replicates=5)
    assert value(found) == pytest.approx(math.log((1 + math.exp(-8)) / 2))
    assert value(found, "many") == pytest.approx(0)
    assert uniformity(ends[y[:31]], y[:31], [200, 2], replicates=5)["few"] is None


def test_some_of_the_samples_are_equal_shares_of_the_classes() -> None:
    y = labelled(50, 3, 20)
    assert y[evenly(y, 3, 23)].bincount().tolist() == [10, 3, 10]
    assert evenly(y, 3, 100).tolist() == [*range(73)]


def test_uniformity_is_a_mean_over_pairs_of_classes_and_of_different_samples() -> None:
    y = labelled(4, 3, 1)
    x = directions(8, 3)
    kernel = [[math.exp(-2 * float((a - b).square().sum())) for b in x] for a in x]
    cells = []
    for a in range(3):
        for b in range(3):
            own = [kernel[i][j] for i in range(8) for j in range(8) if i != j and y[i] == a and y[j] == b]
            cells += [sum(own) / len(own)] if own else []
    assert len(cells) == 8
    assert value(uniformity(x, y, [4, 3, 1], replicates=5)) == pytest.approx(math.log(sum(cells) / 8))
