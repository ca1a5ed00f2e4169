"""Geometry of clouds whose figures are known, with many samples and with few."""

import math

import pytest
import torch
from metrics.clouds import directions, gaussian, labelled, von_mises_fisher
from torch import Tensor

from tailwise.metrics.bootstrap import Figure
from tailwise.metrics.gaussianity import gaussianity
from tailwise.metrics.geometry import angles, drift, spread
from tailwise.metrics.information import instance_information
from tailwise.metrics.neighbours import alignment, nearest_mean, uniformity


def value(found: Figure, group: str = "all") -> float:
    cell = found[group]
    assert cell is not None
    assert cell["value"] is not None
    return cell["value"]


@pytest.mark.parametrize("n", [3, 200])
def test_the_spread_of_von_mises_fisher_clouds_does_not_depend_on_their_size(n: int) -> None:
    kappa, classes = 6.0, 3000 // n
    y = labelled(*[n] * classes)
    x = von_mises_fisher(y, directions(classes, 3), kappa)
    found = spread(3 * x, y, [n] * classes, replicates=20)
    resultant = 1 / math.tanh(kappa) - 1 / kappa
    assert value(found["spread"]) == pytest.approx(1 - resultant, abs=0.015 if n == 3 else 0.006)
    assert value(found["trace"]) == pytest.approx(9 * (1 - resultant**2), abs=0.1)


def test_trace_and_nc1_of_gaussian_clouds() -> None:
    means, y = 2 * torch.eye(4, 8).double(), labelled(400, 400, 400, 3)
    found = spread(gaussian(y, means, 0.5), y, [400, 400, 400, 3])
    assert value(found["trace"], "many") == pytest.approx(8 * 0.25, rel=0.05)
    assert value(found["nc1"], "many") == pytest.approx(8 * 0.25 / (4 - 1), rel=0.1)  # |2 e_c − ½ Σ e|² = 3
    few = found["trace"]["few"]
    assert few is not None
    assert few["low"] < 2 < few["high"]
    assert found["trace"]["medium"] is None


def test_points_have_no_spread_and_single_samples_none_at_all() -> None:
    means, y = directions(3, 5), labelled(4, 2, 1)
    found = spread(means[y], y, [200, 50, 1])
    assert value(found["spread"]) == pytest.approx(0, abs=1e-12)
    assert value(found["nc1"]) == pytest.approx(0, abs=1e-12)
    assert found["spread"]["few"] is None
    assert found["spread"]["medium"] == pytest.approx({"value": 0.0, "low": None, "high": None, "classes": 1}, abs=1e-9)


def slow_angles(means: Tensor, own: list[int]) -> dict[str, float]:
    """The equations, pair by pair."""
    centred = means - means.mean(0)
    cosines = [
        float(centred[a] @ centred[b] / centred[a].norm() / centred[b].norm()) for a in own for b in range(len(means)) if a != b
    ]
    off = [abs(c + 1 / (len(means) - 1)) for c in cosines]
    mean = sum(cosines) / len(cosines)
    return {
        "balancedness": math.sqrt(sum((c - mean) ** 2 for c in cosines) / len(cosines)),
        "min_angle": math.degrees(math.acos(max(cosines))),
        "simplex_max": max(off),
        "simplex_rms": math.sqrt(sum(o * o for o in off) / len(off)),
    }


def test_angles_are_those_of_the_equations() -> None:
    means, y, counts = directions(5, 4), labelled(3, 3, 3, 3, 3), [300, 300, 50, 5, 5]
    found = angles(means[y], y, counts, replicates=5)
    for group, own in {"all": [0, 1, 2, 3, 4], "many": [0, 1], "medium": [2], "few": [3, 4]}.items():
        assert {name: value(figure, group) for name, figure in found.items()} == pytest.approx(
            slow_angles(means, own), abs=1e-4
        )


@pytest.mark.parametrize("deviation", [0.0, 0.1])
def test_orthogonal_means_are_a_simplex_also_under_noise(deviation: float) -> None:
    y = labelled(*[30] * 6)
    found = angles(gaussian(y, torch.eye(6).double(), deviation), y, [30] * 6)
    assert value(found["min_angle"]) == pytest.approx(math.degrees(math.acos(-1 / 5)), abs=0.01 + 20 * deviation)
    for name in ("balancedness", "simplex_rms", "simplex_max"):
        assert value(found[name]) == pytest.approx(0, abs=1e-6 + deviation / 2)


def test_two_classes_lie_opposite_and_one_lies_nowhere() -> None:
    y = labelled(5, 5)
    found = angles(directions(2, 3)[y], y, [5, 5], replicates=5)
    assert value(found["min_angle"]) == pytest.approx(180)
    assert value(found["simplex_rms"]) == pytest.approx(0, abs=1e-6)
    assert set(angles(directions(1, 3)[y[:5]], y[:5], [5, 5], replicates=5)["min_angle"].values()) == {None}


def test_a_class_that_is_not_clear_of_its_noise_points_nowhere_and_is_left_out() -> None:
    """Its squared length without noise may be negative, which is no angle of 0 to whatever is near."""
    means, y = torch.zeros(5, 40).double(), labelled(*[40] * 5)
    means[0, 0] = means[1, 1] = 1
    means[2:4] = -means[:2]  # the last lies at the centre of all
    for seed in range(20):
        found = angles(gaussian(y, means, 0.15, seed), y, [300, 300, 300, 300, 5], replicates=50)
        cell = found["min_angle"]["all"]
        assert cell is not None
        assert cell["classes"] == 4
        assert cell["value"] == pytest.approx(90, abs=6)
        assert {figure["few"] for figure in map(dict, found.values())} == {None}


@pytest.mark.parametrize("length", [0.6, 2.0])
def test_the_smallest_angle_is_not_shifted_away_from_the_truth(length: float) -> None:
    y, means = labelled(*[40] * 8), length * directions(8, 24, 3)
    centred = means - means.mean(0)
    cosine = centred @ centred.T / centred.norm(dim=1) / centred.norm(dim=1)[:, None]
    truth = math.degrees(math.acos(float((cosine - 2 * torch.eye(8)).max())))
    cells = [angles(gaussian(y, means, 24**-0.5, seed), y, [40] * 8, replicates=100)["min_angle"]["all"] for seed in range(40)]
    kept = [cell for cell in cells if cell and cell["classes"] == 8]
    assert len(kept) > 30
    assert sum(cell["value"] for cell in kept) / len(kept) == pytest.approx(truth, abs=4)
    assert sum(cell["low"] <= truth <= cell["high"] for cell in kept) >= 0.85 * len(kept)


@pytest.mark.parametrize("length", [0.0, 0.1, 0.4, 1.0])
def test_figures_of_weak_clouds_in_many_dimensions_stay_in_their_ranges(length: float) -> None:
    sizes = [200, 120, 60, 25, 8, 3]
    y, counts = labelled(*sizes), torch.tensor(sizes)
    ranges = {"spread": (0, 1), "trace": (0, math.inf), "nc1": (0, math.inf), "balancedness": (0, 1), "min_angle": (0, 180)}
    ranges |= {"simplex_max": (0, 1.2), "simplex_rms": (0, 1.2), "drift": (-0.5, 2), "nearest_mean": (0, 1)}
    ranges |= {"margin": (-2, 2), "uniformity": (-8, 0), "alignment": (0, 4), "kurtosis": (-1, math.inf)}
    ranges |= {"anisotropy": (1, 64), "nats": (-math.inf, math.log(416))}
    for seed in range(6):
        means = length * directions(6, 64, seed)
        x, z = (gaussian(y, means, 1 / 8, 2 * seed + side) for side in (0, 1))
        found = spread(x, y, counts, 60, seed) | angles(x, y, counts, 60, seed) | drift(x, y, z, y, counts, 60, seed)
        found |= nearest_mean(x, y, counts, z, y, 60, seed) | gaussianity(x, y, counts, 12, 60, seed)
        found |= {"uniformity": uniformity(x, y, counts, 60, seed), "alignment": alignment(x, z, y, counts, 60, seed)}
        found |= {"nats": instance_information(x, z, y, counts, replicates=60).nats}
        for name, figure in found.items():
            low, high = ranges.get(name, (-math.inf, math.inf))
            for cell in filter(None, figure.values()):
                assert low <= cell["value"] <= high, name
                if cell["low"] is not None:
                    assert low <= cell["low"] <= cell["value"] <= cell["high"] <= high, name
        angle = {group: cell["value"] for group, cell in found["min_angle"].items() if cell}
        assert angle.get("all") == min(angle.values(), default=None)


def test_the_noise_of_means_of_few_samples_is_no_imbalance() -> None:
    means, classes = torch.eye(40).double(), 40
    y = labelled(*[4] * classes)
    plain = torch.stack([x.mean(0) for x in gaussian(y, means, 0.08).split(4)])
    found = value(angles(gaussian(y, means, 0.08), y, [4] * classes)["balancedness"])
    assert found < 0.6 * slow_angles(plain, [*range(classes)])["balancedness"]


@pytest.mark.parametrize("n", [3, 100])
def test_a_known_rotation_is_the_drift_with_many_samples_and_with_few(n: int) -> None:
    angle, classes = 0.5, 1500 // n
    y, test = labelled(*[n] * classes), labelled(*[20] * classes)
    flat = torch.linspace(0, 6, classes).double()
    means = torch.stack([flat.cos(), flat.sin(), torch.zeros(classes), torch.zeros(classes)], 1)
    turned = torch.stack([(flat + angle).cos(), (flat + angle).sin(), torch.zeros(classes), torch.zeros(classes)], 1)
    found = drift(gaussian(y, means, 0.2, 1), y, gaussian(test, turned, 0.2, 2), test, [n] * classes, replicates=50)
    cell = found["drift"]["all"]
    assert cell is not None
    assert cell["value"] == pytest.approx(1 - math.cos(angle), abs=0.02)
    assert cell["low"] < 1 - math.cos(angle) < cell["high"]
    still = drift(gaussian(y, means, 0.2, 1), y, gaussian(test, means, 0.2, 2), test, [n] * classes, replicates=5)
    assert value(still["drift"]) == pytest.approx(0, abs=0.01)
    assert value(still["drift_in_spread"]) == pytest.approx(0, abs=0.1)
    assert value(found["drift_in_spread"]) > 1


def test_single_samples_have_neither_angles_nor_drift() -> None:
    x, y = torch.randn(3, 4), torch.arange(3)
    for figures in (angles(x, y, [1, 1, 1]), drift(x, y, x, y, [1, 1, 1]), spread(x, y, [1, 1, 1])):
        assert all(set(found.values()) == {None} for found in figures.values())


def test_nc1_of_small_classes_is_without_the_noise_of_their_means() -> None:
    classes, dim = 60, 4
    y, means = labelled(*[3] * classes), torch.randn(classes, dim, generator=torch.Generator().manual_seed(0)).double()
    truth = dim / float((means - means.mean(0)).square().sum(1).mean())
    found = spread(gaussian(y, means, 1.0), y, [3] * classes, replicates=5)
    assert value(found["nc1"]) == pytest.approx(truth, rel=0.15)  # 1 / (1 + 1 / 3) of it with the noise
