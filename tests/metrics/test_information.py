"""Bounds of mutual information where it is known: near it, and not above it but by chance."""

import math

import pytest
import torch
from metrics.clouds import gaussian, labelled
from metrics.test_geometry import value

from tailwise.metrics.information import instance_information, label_information
from tailwise.types import TailwiseError


def of_two_gaussians(distance: float) -> float:
    """I(Z; Y) of N(±distance/2, 1) with equal chances: H(Z) − H(Z|Y), by numerical integration."""
    z = torch.linspace(-12 - distance, 12 + distance, 200_001, dtype=torch.float64)
    p = sum((-((z - m) ** 2) / 2).exp() / math.sqrt(2 * math.pi) / 2 for m in (-distance / 2, distance / 2))
    assert isinstance(p, torch.Tensor)
    entropy = -torch.trapezoid(p * p.clamp(min=1e-300).log(), z)
    return float(entropy) - 0.5 * math.log(2 * math.pi * math.e)


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0])
def test_the_information_of_two_gaussians_is_found_and_not_exceeded(distance: float) -> None:
    y = labelled(800, 800)
    means = torch.zeros(2, 3).double()
    means[:, 0] = torch.tensor([-distance / 2, distance / 2])
    found = label_information(gaussian(y, means, 1.0), y, [200, 5], replicates=50)
    cell, truth = found.nats["all"], of_two_gaussians(distance)
    assert cell is not None
    assert cell["low"] < truth
    assert cell["value"] == pytest.approx(truth, abs=0.03)
    assert found.ceiling == pytest.approx(math.log(2))
    assert value(found.share) == pytest.approx(cell["value"] / math.log(2))


def test_labels_of_no_meaning_give_nothing_and_separate_classes_everything() -> None:
    y, means = labelled(*[60] * 5), torch.eye(5, 20).double()
    counts = [300, 300, 50, 5, 5]
    nothing = label_information(gaussian(y, means * 0, 1.0), y, counts, replicates=5)
    assert -0.05 < value(nothing.nats) < 0.05
    everything = label_information(gaussian(y, means, 0.01), y, counts, replicates=5)
    assert value(everything.nats) == pytest.approx(math.log(5), abs=0.01)
    assert value(everything.share, "few") == pytest.approx(1, abs=0.01)


def test_groups_average_to_the_whole_and_small_classes_are_left_out() -> None:
    y = labelled(40, 40, 9, 30, 1)
    found = label_information(gaussian(y, torch.eye(5).double(), 0.7), y, [300, 300, 50, 5, 5], replicates=5)
    cells = {group: found.nats[group] for group in ("all", "many", "medium", "few")}
    assert {group: cell and cell["classes"] for group, cell in cells.items()} == {"all": 4, "many": 2, "medium": 1, "few": 1}
    weighted = 2 * value(found.nats, "many") + value(found.nats, "medium") + value(found.nats, "few")
    assert value(found.nats) == pytest.approx(weighted / 4)
    assert (found.ceiling, found.samples) == (pytest.approx(math.log(4)), 119)


def test_a_probe_of_the_training_samples_judges_all_test_classes() -> None:
    train, test = labelled(60, 60, 4, 0), labelled(30, 30, 30, 30)
    means = torch.eye(4).double()
    found = label_information(
        gaussian(train, means, 0.3), train, [300, 50, 4, 0], gaussian(test, means, 0.3, 1), test, replicates=5
    )
    assert found.ceiling == pytest.approx(math.log(4))
    assert value(found.nats, "many") > 0.8
    assert found.nats["few"] is not None
    assert found.nats["few"]["classes"] == 2
    assert value(found.nats, "few") < value(found.nats, "many") - 0.5


@pytest.mark.parametrize(("correlation", "dim"), [(0.5, 1), (0.9, 1), (0.8, 3)])
def test_the_information_of_correlated_gaussians_is_found_and_not_exceeded(correlation: float, dim: int) -> None:
    draw = torch.Generator().manual_seed(0)
    z, noise = (torch.randn(800, dim, generator=draw, dtype=torch.float64) for _ in range(2))
    other = correlation * z + math.sqrt(1 - correlation**2) * noise
    y = labelled(400, 400)
    # log p(z'|z) / p(z') is −|z − ρ z'|² / 2 (1 − ρ²) and a function of z: the critic of a second view times ρ
    found = instance_information(z, correlation * other, y, [400, 5], spherical=False, replicates=50)
    truth, cell = -dim / 2 * math.log(1 - correlation**2), found.nats["all"]
    assert cell is not None
    assert cell["low"] < truth < cell["high"] + 0.02
    assert cell["value"] == pytest.approx(truth, abs=0.08)


def test_views_that_tell_nothing_or_everything() -> None:
    draw = torch.Generator().manual_seed(0)
    z, other = (torch.randn(300, 16, generator=draw) for _ in range(2))
    y = labelled(200, 100)
    assert value(instance_information(z, other, y, [200, 5], replicates=5).nats) == pytest.approx(0, abs=0.05)
    same = instance_information(z, 2 * z, y, [200, 5], replicates=5)
    assert value(same.nats) == pytest.approx(math.log(300), abs=1e-3)
    assert value(same.share, "few") == pytest.approx(1, abs=1e-3)
    assert (same.ceiling, same.samples) == (pytest.approx(math.log(300)), 300)


def test_one_fold_and_features_of_two_models_are_refused() -> None:
    x, y = torch.randn(4, 2), labelled(2, 2)
    with pytest.raises(TailwiseError, match="two folds"):
        label_information(x, y, [2, 2], folds=1)
    with pytest.raises(TailwiseError, match="2 and 3 numbers; give those of one model"):
        label_information(x, y, [2, 2], torch.randn(4, 3), y)


def test_nothing_to_judge_or_to_learn_from_is_undefined_or_nothing() -> None:
    x, y = torch.randn(3, 4), torch.arange(3)
    alone = label_information(x, y, [300, 50, 5], replicates=5)
    assert set(alone.nats.values()) == {None}
    unknown = label_information(x[:0], y[:0], [0, 0, 0], x, y, replicates=5)
    assert value(unknown.nats) == pytest.approx(0, abs=1e-6)
    flat = label_information(torch.ones(60, 4), labelled(20, 20, 20), [300, 50, 5], replicates=5)
    assert value(flat.nats) == pytest.approx(0, abs=1e-3)
    one = label_information(x, y * 0, [3], replicates=5)
    assert value(one.nats) == pytest.approx(0, abs=1e-6)
    assert one.share["all"] is None


def test_a_probe_is_not_judged_on_what_it_learned() -> None:
    y, means = labelled(60, 60), torch.zeros(2, 40).double()
    means[:, 0] = torch.tensor([-1.0, 1.0])
    found = [value(label_information(gaussian(y, means, 1.0, s), y, [60, 60], replicates=2, seed=s).nats) for s in range(3)]
    assert sum(found) / 3 < of_two_gaussians(2.0)
    assert min(found) > -0.1
