"""Intervals: weights with the variance of a mean, groups, and what is undefined."""

import pytest
import torch
from metrics.clouds import labelled

from tailwise.metrics.bootstrap import clouds, figure, gap_figure, resampled, sample_figure
from tailwise.types import IGNORE, TailwiseError

COUNTS = torch.tensor([300, 150, 50, 10, 5])


@pytest.mark.parametrize("n", [3, 5, 40])
def test_a_resampled_mean_has_the_variance_of_a_mean(n: int) -> None:
    x, y = torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64), labelled(n)
    weights = torch.cat([*resampled(y, 1, 20_000, 0)])
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)).double())
    assert float((weights[1:] @ x).var()) == pytest.approx(float(x.var() / n), rel=0.05)


def test_pieces_change_nothing_and_the_seed_does() -> None:
    y = labelled(4, 1, 7)
    whole = torch.cat([*resampled(y, 3, 9, 0)])
    assert torch.equal(whole, torch.cat([*resampled(y, 3, 9, 0, wide=2**22)]))
    assert len([*resampled(y, 3, 9, 0, wide=2**22)]) == 5
    assert torch.equal(whole[:, 4], torch.ones(10).double())  # a class of one is not resampled
    assert torch.allclose(whole[0, :4], torch.full((4,), 0.25).double())
    assert not torch.equal(whole[1:], torch.cat([*resampled(y, 3, 9, 1)])[1:])


def test_groups_are_means_over_classes_and_empty_ones_are_none() -> None:
    y = labelled(10, 40, 10, 10, 0)
    values = torch.tensor([1.0, 0.0, 0.5, 0.25]).double()[y]
    found = sample_figure(values, y, COUNTS)
    values_of = {group: cell and cell["value"] for group, cell in found.items()}
    assert values_of == pytest.approx({"all": 0.4375, "many": 0.5, "medium": 0.5, "few": 0.25})
    assert found["few"] == pytest.approx({"value": 0.25, "low": 0.25, "high": 0.25, "classes": 1})
    assert sample_figure(values[:50], y[:50], COUNTS)["few"] is None


def test_classes_too_small_to_be_resampled_have_no_interval() -> None:
    y = labelled(10, 10, 10, 2, 1)
    found = sample_figure(torch.arange(33.0).double(), y, COUNTS)
    assert found["few"] == {"value": pytest.approx((30.5 + 32) / 2), "low": None, "high": None, "classes": 2}
    assert found["all"] is not None
    assert found["all"]["low"] is not None


def test_an_interval_is_students_where_samples_are_few() -> None:
    """Of a mean of few samples it is as wide as theirs: 2 t s / √n."""
    y, x = labelled(8), torch.randn(8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    cell = sample_figure(x, y, torch.tensor([8]), replicates=4000)["few"]
    assert cell is not None
    assert cell["high"] - cell["low"] == pytest.approx(2 * 2.365 * float(x.std()) / 8**0.5, rel=0.08)


def test_large_classes_do_not_hide_how_few_samples_a_small_one_has() -> None:
    """Nearly all of the variance is of three samples, so the interval is that of Student's t with two degrees of freedom."""
    y = labelled(*[300] * 8, 3)
    x = torch.randn(2403, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cell = sample_figure(x, y, torch.full((9,), 300), replicates=4000)["all"]
    assert cell is not None
    deviation = float(sum(part.var() / len(part) for part in x.split([300] * 8 + [3]))) ** 0.5 / 9
    assert cell["high"] - cell["low"] > 2 * 2.6 * deviation


@pytest.mark.parametrize("recall", [0.97, 0.9])
def test_intervals_of_shares_hold_the_truth_where_all_may_be_right(recall: float) -> None:
    n, held = torch.tensor([40]), 0
    for seed in range(200):
        hits = (torch.rand(40, generator=torch.Generator().manual_seed(seed)) < recall).double()
        cell = sample_figure(hits, labelled(40), n, replicates=100, seed=seed, shares=True)["all"]
        assert cell is not None
        assert 0 <= cell["low"] < cell["high"] <= 1
        held += cell["low"] <= recall <= cell["high"]
    assert held >= 184


def test_shares_are_those_of_the_samples_and_classes_of_two_add_no_chance() -> None:
    y = labelled(40, 0, 2, 4, 5)
    hits = torch.cat([torch.ones(40), torch.tensor([1.0, 0.0]), torch.zeros(4), torch.ones(5)]).double()
    found = sample_figure(hits, y, COUNTS, shares=True)
    few, medium, many = found["few"], found["medium"], found["many"]
    assert few is not None
    assert (few["value"], few["classes"], few["high"] > few["low"] > 0) == (0.5, 2, True)
    assert medium == {"value": 0.5, "low": None, "high": None, "classes": 1}
    assert many is not None
    assert (many["value"], many["high"]) == (1, 1)
    assert 0.85 < many["low"] < 0.97
    gap = gap_figure(hits, y, hits, y, COUNTS, shares=True)["many"]
    assert gap is not None
    assert -0.1 < gap["low"] < -0.02 < gap["value"] == 0 < 0.02 < gap["high"] < 0.1


def test_an_interval_holds_its_value_and_both_are_in_range() -> None:
    rows = {"all": torch.tensor([0.9, *[1.4] * 50, *[1.5] * 50]).double()}
    for unbiased in (True, False):
        cell = figure(rows, {"all": torch.tensor([9, 4])}, unbiased, (0.0, 1.0))["all"]
        assert cell is not None
        assert 0 <= cell["low"] <= cell["value"] <= cell["high"] <= 1


def test_a_gap_is_of_classes_on_both_sides_and_both_are_resampled() -> None:
    y, other = labelled(9, 9, 9, 9, 9), labelled(50, 50, 50, 0, 50)
    values = torch.rand(45, generator=torch.Generator().manual_seed(0)).double()
    found, still = gap_figure(values, y, torch.zeros(200).double(), other, COUNTS), sample_figure(values, y, COUNTS)
    assert found["medium"] == pytest.approx(still["medium"])
    few = found["few"]
    assert few is not None
    assert (few["classes"], few["value"]) == (1, pytest.approx(float(values[36:].mean())))


def test_what_is_no_cloud_is_refused_in_one_line() -> None:
    y = torch.tensor([0, IGNORE, 1])
    x, kept, _ = clouds(torch.eye(3), y, [5, 5], "spread")
    assert (len(x), kept.tolist()) == (2, [0, 1])
    for features, labels in (
        (torch.eye(3), y[:2]),
        (torch.eye(3)[0], y),
        (torch.eye(3), y.double()),
        (torch.eye(3), y + 1),
        (torch.eye(3).log(), y),
    ):
        with pytest.raises(TailwiseError, match=r"^spread: "):
            clouds(features, labels, [5, 5], "spread")
