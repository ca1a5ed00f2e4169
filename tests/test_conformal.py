"""Coverage of prediction sets by class within binomial bounds, the rule for small classes, and false alarms."""

from pathlib import Path

import pytest
import torch
from scipy.stats import binom

from tailwise import conformal
from tailwise.conformal import HeldOut, energy, false_alarms, held_out, least_energy, sets, thresholds
from tailwise.types import TailwiseError

COUNTS = torch.tensor([500, 150, 60, 30, 8])


def drawn(per_class: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a model that is wrong about its own sureness, and labels."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(per_class)).repeat_interleave(torch.tensor(per_class))
    x = 2 * torch.eye(len(per_class))[labels] + torch.randn(len(labels), len(per_class), generator=g)
    return 5 * x + torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0, 0.5])[: len(per_class)], labels


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_every_class_is_covered_whatever_its_share(coverage: float) -> None:
    """Held-out samples are long-tailed, new ones are not; over many draws, the mean coverage of each class is as promised."""
    hits, sizes = torch.zeros(5), torch.zeros(5)
    for seed in range(40):
        least = thresholds(held_out(*drawn([200, 80, 40, 20, 10], seed)), COUNTS, coverage)
        assert set(least.basis) == {"class"}
        logits, labels = drawn([50] * 5, 1000 + seed)
        inside = sets(logits, least)
        own = inside.gather(1, labels[:, None])[:, 0]
        hits += own.float().view(5, 50).sum(1)
        sizes += inside.sum(1).float().view(5, 50).sum(1)
    lowest = float(binom.ppf(1e-3, 2000, coverage)) / 2000 - 0.02  # the thresholds are drawn, too
    assert bool((hits / 2000 >= lowest).all()), hits / 2000
    assert float(hits[0]) / 2000 < coverage + 0.03  # many samples: no more than asked for
    assert float(sizes.sum()) / 10_000 < 4


def test_the_threshold_is_the_order_statistic() -> None:
    scores = -torch.arange(1.0, 20.0)  # 19 samples of one class
    held = HeldOut(torch.zeros(19, dtype=torch.int64), torch.zeros(19, dtype=torch.int64), scores, scores)
    assert thresholds(held, torch.tensor([30]), 0.9).least.tolist() == [-18.0]  # k = 0.1 · 20 = 2
    assert thresholds(held, torch.tensor([30]), 0.95).least.tolist() == [-19.0]
    nine = HeldOut(*(column[:9] for column in held))
    assert thresholds(nine, torch.tensor([30]), 0.9).basis == ("class",)
    assert thresholds(HeldOut(*(column[:8] for column in held)), torch.tensor([30]), 0.9) == (
        torch.tensor([-torch.inf], dtype=torch.float64),
        ("none",),
    )


def test_poor_classes_share_a_threshold_that_rich_ones_do_not_set() -> None:
    counts = torch.tensor([500, 60, 50, 5, 3, 40])
    held = held_out(*drawn([30, 5, 5, 2, 2, 25], 0))
    found = thresholds(held, counts, 0.9)
    assert found.basis == ("class", "medium", "medium", "none", "none", "class")
    assert found.least[1] == found.least[2] == held.scores[(held.labels == 1) | (held.labels == 2)].min()
    assert found.least[3] == found.least[4] == -torch.inf
    more = thresholds(held_out(*drawn([30, 4, 3, 2, 2, 25], 0)), counts, 0.9)  # too few of each group, but not of all
    assert more.basis == ("class", "all", "all", "all", "all", "class")
    tiny = thresholds(held_out(*drawn([2, 1, 1, 0, 0, 0], 0)), counts, 0.9)
    assert set(tiny.basis) == {"none"}
    assert bool(sets(torch.randn(4, 6), tiny).all())


def test_the_shared_threshold_is_the_order_statistic_and_above_no_class_own_smallest_score() -> None:
    labels = torch.arange(8).repeat_interleave(8)
    scores = -torch.arange(64.0)  # from class to class harder
    found = thresholds(HeldOut(labels, labels, scores, scores), torch.full((9,), 50), 0.9)
    assert set(found.basis) == {"medium"}
    pooled = -58.0  # k = ⌊0.1 · 65⌋ = 6
    assert found.least.tolist() == [pooled] * 7 + [-63.0, pooled]


@pytest.mark.parametrize("rich", [0, 1, 5])
def test_poor_classes_are_covered_too(rich: int) -> None:
    """Ten classes of five held-out samples each, beside easier ones that have enough of their own."""
    own, mix, counts = [], [], torch.full((rich + 10,), 200)

    def sample(easy: int, poor: int, seed: int) -> HeldOut:
        g = torch.Generator().manual_seed(seed)
        labels = torch.arange(rich + 10).repeat_interleave(torch.tensor([easy] * rich + [poor] * 10))
        hard = 1 + 9 * (labels % 10 == 3)  # one of the ten is much harder than the others
        return HeldOut(labels, labels, *(-torch.rand(2, len(labels), generator=g) * torch.where(labels < rich, 0.1, hard)))

    for seed in range(150):
        found = thresholds(sample(100, 5, seed), counts, 0.9)
        assert found.basis == ("class",) * rich + ("many",) * 10
        new = sample(1, 100, 1000 + seed)
        inside = (new.scores >= found.least[new.labels])[new.labels >= rich].view(10, 100).double().mean(1)
        mix.append(inside.mean())
        own.append(inside)
    assert sum(mix) / 150 > 0.9
    assert float(torch.stack(own).mean(0).min()) > 5 / 6 - 0.03


def test_a_class_that_is_all_but_certain_is_in_its_own_sets() -> None:
    logits = torch.tensor([[40.0, 20.0, 0.0]]).repeat(40, 1)  # log p is −2e-9, which float32 rounds to 0
    found = thresholds(held_out(logits, torch.zeros(40, dtype=torch.int64)), torch.tensor([100, 100, 100]), 0.9)
    assert bool(sets(logits, found)[:, 0].all())
    assert bool(sets(logits.double(), found)[:, 0].all())


def test_a_class_that_cannot_be_predicted_is_in_no_set() -> None:
    found = thresholds(held_out(*drawn([30, 30, 30, 30, 0], 0)), COUNTS, 0.9)
    logits = torch.zeros(2, 5)
    logits[:, 4] = -torch.inf
    assert not bool(sets(logits, found)[:, 4].any())


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_false_alarms_are_as_many_as_said_and_no_class_pays_for_the_others(rate: float) -> None:
    logits, labels = drawn([300, 100, 60, 40, 20], 3)
    held = held_out(logits, labels)
    least = least_energy(held, rate)
    by_class = [float((held.energies[labels == c] < least).double().mean()) for c in range(5)]
    assert sum(by_class) / 5 <= rate + 1e-9
    assert sum(by_class) / 5 > rate - 0.02
    alarms = false_alarms(held, least, COUNTS)
    assert alarms["all"] == pytest.approx(sum(by_class) / 5)
    assert alarms["many"] == pytest.approx(sum(by_class[:2]) / 2)
    assert alarms["few"] == pytest.approx(by_class[4])
    assert bool((energy(torch.zeros(3, 5) - 20) < least).all())  # what excites no class


def test_groups_without_samples_have_no_false_alarms_to_tell() -> None:
    held = held_out(*drawn([20, 20], 0))
    assert false_alarms(held, least_energy(held, 0.1), torch.tensor([500, 400]))["few"] is None


def test_the_summary_survives_the_disk(tmp_path: Path) -> None:
    held = held_out(*drawn([3, 2], 0))
    assert conformal.read(tmp_path) is None
    conformal.write(held, tmp_path)
    again = conformal.read(tmp_path)
    assert again is not None
    assert all(torch.equal(a, b) for a, b in zip(held, again, strict=True))
    (tmp_path / conformal.FILE).write_bytes(b"nothing")
    with pytest.raises(TailwiseError, match="cannot be used"):
        conformal.read(tmp_path)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, float("nan")])
def test_impossible_promises_are_refused(value: float) -> None:
    held = held_out(*drawn([20, 20], 0))
    with pytest.raises(TailwiseError, match="the coverage must lie between 0 and 1"):
        thresholds(held, torch.tensor([5, 5]), value)
    if value != 0:
        with pytest.raises(TailwiseError, match="false-alarm rate must lie between 0 and 1"):
            least_energy(held, value)
