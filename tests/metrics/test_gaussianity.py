"""Gaussian classes look Gaussian with many samples and with few; others do not, and are told apart by kind."""

import math

import pytest
import torch
from metrics.clouds import gaussian, labelled
from metrics.test_geometry import value
from torch import Tensor

from tailwise.metrics.gaussianity import _expected, _shape, gaussianity
from tailwise.types import TailwiseError

COUNTS = [500, 500, 50, 50, 5, 5, 5, 5]
Y = labelled(300, 300, 60, 60, 60, 30, 30, 12)
STRETCH = torch.tensor([4.0, 2.0, 1.0, 1.0, 0.5, 0.5]).double()


def clouds(kind: str) -> Tensor:
    x = gaussian(Y, torch.zeros(8, 6).double(), 1.0)
    draw = torch.Generator().manual_seed(9)
    if kind == "lumps":
        x[:, 0] += 3 * (2 * torch.randint(0, 2, (len(x),), generator=draw) - 1)
    if kind == "tails":
        x = x / torch.rand(len(x), 1, generator=draw).double().sqrt().clamp(min=0.05)
    return x * STRETCH + 5


def test_the_statistic_is_henze_and_zirklers_and_mardias() -> None:
    x = (
        torch.randn(1, 9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        @ torch.tensor([[2.0, 1], [0, 1]]).double()
    )
    n, p, centred = 9, 2, x[0] - x[0].mean(0)
    inverse = torch.linalg.inv(centred.T @ centred / n)
    b = (1 / math.sqrt(2) * ((2 * p + 1) * n / 4) ** (1 / (p + 4))) ** 2
    length = [float(z @ inverse @ z) for z in centred]
    hz = n * (1 + 2 * b) ** (-p / 2)
    for i, z in enumerate(centred):
        hz -= 2 * (1 + b) ** (-p / 2) * math.exp(-b / (2 * (1 + b)) * length[i])
        hz += sum(math.exp(-b / 2 * float((z - w) @ inverse @ (z - w))) for w in centred) / n
    mardia = sum(m * m for m in length) / n
    statistic, kurtosis = _shape(x)
    assert float(statistic[0]) == pytest.approx(hz)
    assert float(kurtosis[0]) == pytest.approx(mardia / (8 * (n - 1) / (n + 1)) - 1)
    assert _expected(9, 2)[0] == pytest.approx(float(_shape(torch.randn(4000, 9, 2))[0].mean()), rel=0.03)


def test_gaussian_classes_of_any_size_are_gaussian() -> None:
    found = gaussianity(clouds("gaussian"), Y, COUNTS, size=24)
    for group in ("many", "medium", "few"):
        assert value(found["henze_zirkler"], group) == pytest.approx(0, abs=0.5)
        assert value(found["kurtosis"], group) == pytest.approx(0, abs=0.1)
        cell = found["henze_zirkler"][group]
        assert cell is not None
        assert cell["low"] < 0 < cell["high"]
    few = found["henze_zirkler"]["few"]
    assert few is not None
    assert few["classes"] == 3  # the class of 12 samples is left out
    truth = 6 * float(STRETCH.pow(4).sum() / STRETCH.square().sum() ** 2)
    assert value(found["anisotropy"]) == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("kind", ["lumps", "tails"])
def test_lumps_and_tails_are_seen_in_classes_of_any_size(kind: str) -> None:
    found, plain = (gaussianity(clouds(of), Y, COUNTS, size=24) for of in (kind, "gaussian"))
    for group in ("many", "medium", "few"):
        assert value(found["henze_zirkler"], group) > 0.6
        assert (value(found["kurtosis"], group) > 0) == (kind == "tails")
        if kind == "lumps":
            assert value(found["kernel_gain"], group) > value(plain["kernel_gain"], group) + 0.02


def test_a_round_gaussian_in_many_dimensions_beats_kernels_on_few_samples() -> None:
    y = labelled(200, 200)
    found = gaussianity(gaussian(y, torch.zeros(2, 100).double(), 1.0), y, [200, 200], size=64, replicates=20)
    assert -math.log(2) / 2 < value(found["kernel_gain"]) < -0.15
    assert value(found["anisotropy"]) == pytest.approx(1, abs=0.1)


def test_points_and_small_classes_are_undefined_and_one_subset_has_no_interval() -> None:
    y = labelled(40, 12, 11)
    x = gaussian(y, torch.zeros(3, 3).double(), 1.0)
    x[:40] = 1.0
    found = gaussianity(x, y, [500, 50, 5], size=12, replicates=20)
    assert {name: figure["many"] for name, figure in found.items()} == dict.fromkeys(found)
    assert {name: figure["few"] for name, figure in found.items()} == dict.fromkeys(found)
    medium = found["kurtosis"]["medium"]
    assert medium is not None
    assert (medium["low"], medium["high"]) == (None, None)


def test_sizes_that_cannot_be_halved_are_refused() -> None:
    for size in (11, 10, 25):
        with pytest.raises(TailwiseError, match="even and at least 12"):
            gaussianity(torch.randn(30, 3), torch.zeros(30, dtype=torch.int64), [30], size=size)
    with pytest.raises(TailwiseError, match="give vectors"):
        gaussianity(torch.randn(30, 1), torch.zeros(30, dtype=torch.int64), [30])
