"""Samplers against exact fractions, and their promises: exact totals, even turns, no history, no global generator."""

import pickle
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from torch import Tensor

from tailwise import rng
from tailwise.counts import count_labels
from tailwise.data.longtail import profile
from tailwise.data.samplers import (
    KEY,
    ORDER,
    TURN,
    ClassBalanced,
    EffectiveNumber,
    ProgressivelyBalanced,
    Sampler,
    Shuffled,
    SquareRoot,
    largest_remainder,
)
from tailwise.types import IGNORE, TailwiseError

DRAWING = [ClassBalanced(), SquareRoot(), EffectiveNumber(0.9), ProgressivelyBalanced()]
ALL = [Shuffled(), *DRAWING]
COUNTS = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 60)), min_size=1, max_size=12).filter(any)
names = {"ids": lambda sampler: type(sampler).__name__}
every = pytest.mark.parametrize("sampler", ALL, **names)
drawing = pytest.mark.parametrize("sampler", DRAWING, **names)


def labels_of(counts: list[int], seed: int = 0) -> Tensor:
    """Labels with these counts, in mixed order."""
    labels = torch.repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def totals(sampler: Sampler, counts: list[int], epoch: int = 0, epochs: int = 1) -> list[int]:
    """How often an epoch draws each class."""
    labels = labels_of(counts)
    return count_labels(labels[sampler(labels, len(counts), 5, epoch, epochs)], len(counts)).tolist()


def instances(counts: list[int]) -> list[Fraction]:
    return [Fraction(n, sum(counts)) for n in counts]


def balanced(counts: list[int]) -> list[Fraction]:
    return [Fraction(n > 0, sum(n > 0 for n in counts)) for n in counts]


def effective(counts: list[int], beta: Fraction) -> list[Fraction]:
    weights = [n * (1 - beta) / (1 - beta**n) if n else Fraction(0) for n in counts]
    return [w / sum(weights) for w in weights]


def progressive(counts: list[int], t: Fraction) -> list[Fraction]:
    return [(1 - t) * a + t * b for a, b in zip(instances(counts), balanced(counts), strict=True)]


def rounded(shares: list[Fraction], total: int) -> list[int]:
    """Largest remainder, one leftover at a time, in exact numbers."""
    wanted = [total * p for p in shares]
    given = [int(w) for w in wanted]
    while sum(given) < total:
        behind = [w - g for w, g in zip(wanted, given, strict=True)]
        given[behind.index(max(behind))] += 1
    return given


@given(COUNTS)
def test_class_balanced_totals_are_exact(counts: list[int]) -> None:
    assert totals(ClassBalanced(), counts) == rounded(balanced(counts), sum(counts))


@given(COUNTS)
def test_shuffled_totals_are_the_counts(counts: list[int]) -> None:
    assert totals(Shuffled(), counts) == counts
    assert largest_remainder(Shuffled().shares(torch.tensor(counts), 0.5), sum(counts)).tolist() == counts


@given(COUNTS, st.integers(0, 6), st.integers(1, 6))
def test_progressive_totals_are_exact(counts: list[int], epoch: int, epochs: int) -> None:
    t = min(Fraction(epoch, epochs - 1), Fraction(1)) if epochs > 1 else Fraction(0)
    assert totals(ProgressivelyBalanced(), counts, epoch, epochs) == rounded(progressive(counts, t), sum(counts))


@given(COUNTS, st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(15, 16)]))
def test_effective_number_totals_are_exact(counts: list[int], beta: Fraction) -> None:
    assert totals(EffectiveNumber(float(beta)), counts) == rounded(effective(counts, beta), sum(counts))


def test_golden_totals() -> None:
    assert totals(SquareRoot(), [100, 25, 4, 1]) == [72, 36, 15, 7]  # 130 · (10, 5, 2, 1) / 18 = 72.2, 36.1, 14.4, 7.2
    assert totals(ClassBalanced(), [100, 25, 4, 1]) == [33, 33, 32, 32]
    torch.testing.assert_close(
        EffectiveNumber(0.5).shares(torch.tensor([3, 2, 1]), 0), torch.tensor([36, 28, 21]).double() / 85
    )


@every
@given(counts=COUNTS, progress=st.floats(0, 1))
def test_shares_are_a_distribution_over_the_classes_that_occur(sampler: Sampler, counts: list[int], progress: float) -> None:
    shares = sampler.shares(torch.tensor(counts), progress)
    assert shares.dtype == torch.float64
    assert float(shares.sum()) == pytest.approx(1, abs=1e-12)
    assert [p > 0 for p in shares.tolist()] == [n > 0 for n in counts]
    torch.testing.assert_close(sampler.shares(torch.tensor([*counts, 0]), progress)[:-1], shares, rtol=1e-12, atol=0)


@every
@given(counts=COUNTS, epoch=st.integers(0, 4), seed=st.integers(0, 9))
def test_images_take_turns(sampler: Sampler, counts: list[int], epoch: int, seed: int) -> None:
    """N draws; no image of a class is shown twice more than another, and every class that occurs is shown."""
    labels = labels_of(counts, seed)
    index = sampler(labels, len(counts), seed, epoch, 4)
    assert torch.equal(index, sampler(labels, len(counts) + 3, seed, epoch, 4))
    assert index.dtype == torch.int64
    assert index.shape == labels.shape
    shown = torch.bincount(index, minlength=len(labels))
    for c, n in enumerate(counts):
        of_class = shown[labels == c]
        m = int(of_class.sum())
        assert not n or (m >= 1 and of_class.min() == m // n and of_class.max() == -(-m // n))


def test_progressive_goes_from_instances_to_classes() -> None:
    counts = profile(500, 10, 100).tolist()
    epochs = [totals(ProgressivelyBalanced(), counts, epoch, 5) for epoch in range(6)]
    assert epochs[0] == totals(Shuffled(), counts) == totals(ProgressivelyBalanced(), counts, 3, 1)
    assert epochs[4] == epochs[5] == totals(ClassBalanced(), counts)
    assert [e[0] for e in epochs[:5]] == sorted({e[0] for e in epochs}, reverse=True)
    assert [e[-1] for e in epochs[:5]] == sorted({e[-1] for e in epochs})


def test_effective_number_lies_between_instances_and_classes() -> None:
    counts = profile(500, 10, 100)
    torch.testing.assert_close(EffectiveNumber(0).shares(counts, 0), Shuffled().shares(counts, 0))
    torch.testing.assert_close(
        EffectiveNumber(1 - 1e-9).shares(counts, 0), ClassBalanced().shares(counts, 0), rtol=1e-5, atol=0
    )
    rarest = [float(s.shares(counts, 0)[-1]) for s in (Shuffled(), EffectiveNumber(0.99), ClassBalanced())]
    assert rarest == sorted(set(rarest))


@every
def test_huge_counts_have_finite_shares(sampler: Sampler) -> None:
    shares = sampler.shares(torch.tensor([10**9, 0, 1]), 0.5)
    assert bool(shares.isfinite().all())
    assert int(largest_remainder(shares, 10**9 + 1).sum()) == 10**9 + 1


@pytest.mark.parametrize("labels", [torch.arange(24) % 5, torch.full((24, 3, 3), IGNORE), torch.rand(24, 5), torch.zeros(0)])
def test_shuffled_is_the_permutation_of_the_epoch_for_any_labels(labels: Tensor) -> None:
    n = len(labels)
    for epoch in (0, 7):
        expected = torch.argsort(rng.uniform(3, epoch, 0, torch.arange(n)), stable=True)
        assert torch.equal(Shuffled()(labels, 5, 3, epoch, 9), expected)
    assert (ORDER, KEY, TURN) == (0, 1, 2)


def test_drawing_by_instance_shares_shows_every_sample_once() -> None:
    class Instances(Sampler):
        def shares(self, counts: Tensor, progress: float) -> Tensor:
            return counts / counts.sum()

    labels = labels_of([20, 0, 5, 1])
    assert torch.equal(Instances()(labels, 4, 0, 0, 1).sort().values, torch.arange(26))


@every
def test_more_classes_than_samples(sampler: Sampler) -> None:
    labels = torch.tensor([900, 3, 3, 70, 900])
    index = sampler(labels, 1000, 0, 0, 3)
    assert labels[index].unique().tolist() == [3, 70, 900]
    assert torch.equal(index, sampler(labels, 901, 0, 0, 3))


@every
def test_one_image_and_one_class(sampler: Sampler) -> None:
    assert sampler(torch.tensor([0]), 1, 0, 0, 1).tolist() == [0]
    assert sorted(sampler(torch.zeros(9, dtype=torch.int64), 1, 0, 0, 1).tolist()) == list(range(9))
    assert sorted(sampler(torch.arange(9), 9, 0, 0, 1).tolist()) == list(range(9))
    assert sampler(torch.empty(0, dtype=torch.int64), 3, 0, 0, 1).tolist() == []


def test_which_images_fill_a_broken_turn_is_chance() -> None:
    labels = labels_of([40, 10])  # 25 draws each: 25 of the 40, and 2 or 3 of each of the 10
    shown = sum(torch.bincount(ClassBalanced()(labels, 2, 1, epoch, 400), minlength=50) for epoch in range(400))
    for c, mean in ((0, 400 * 25 / 40), (1, 400 * 25 / 10)):
        assert float((shown[labels == c] - mean).abs().max()) < 45  # 4.5 standard deviations of 400 draws


@drawing
def test_classes_are_mixed_over_the_epoch(sampler: Sampler) -> None:
    labels = labels_of([300, 60, 12, 4])
    place = torch.arange(len(labels)).double() / len(labels)
    order = torch.stack([labels[sampler(labels, 4, 2, epoch, 60)] for epoch in range(60)])
    for c in range(4):
        places = place.expand(60, -1)[order == c]
        assert abs(float(places.mean()) - 0.5) < 5 * 12**-0.5 / len(places) ** 0.5


@every
def test_an_epoch_follows_from_its_coordinates_alone(sampler: Sampler) -> None:
    labels = labels_of([30, 9, 0, 2])
    first = [sampler(labels, 4, 7, epoch, 5) for epoch in range(5)]
    again = pickle.loads(pickle.dumps(sampler))
    for epoch in (3, 0, 4):
        assert torch.equal(first[epoch], again(labels, 4, 7, epoch, 5))
    for one, other in ((first[0], first[1]), (first[0], sampler(labels, 4, 8, 0, 5))):
        assert not torch.equal(one, other)


@drawing
def test_epochs_show_other_images_of_a_large_class(sampler: Sampler) -> None:
    labels = labels_of([90, 5, 5])
    shown = [set(sampler(labels, 3, 0, epoch, 2).tolist()) for epoch in (1, 2)]  # 2 is as far as 1
    assert shown[0] != shown[1]


@every
def test_global_generators_are_left_alone(sampler: Sampler) -> None:
    def states() -> tuple[object, ...]:
        legacy = np.random.get_state()  # noqa: NPY002  # the global generator is what must stay as it is
        return torch.random.get_rng_state().tolist(), random.getstate(), [str(part) for part in legacy]

    before = states()
    sampler(labels_of([9, 3, 1]), 3, 0, 0, 1)
    assert states() == before


@drawing
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(4, 8, 8, dtype=torch.int64), r"int64 of shape \(4, 8, 8\), not one class per sample"),
        (torch.rand(4), r"float32 of shape \(4,\), not one class per sample"),
        (torch.tensor([0, 1, IGNORE, 2]), r"sample 2 has label -100, which is no class"),
        (torch.tensor([0, 3, 1]), r"sample 1 has label 3, which is no class"),
    ],
)
def test_labels_that_are_not_one_class_per_sample_are_refused(sampler: Sampler, labels: Tensor, message: str) -> None:
    with pytest.raises(TailwiseError, match=rf"^sampler {type(sampler).__name__}: .*{message}; use Shuffled$"):
        sampler(labels, 3, 0, 0, 1)


@pytest.mark.parametrize("beta", [1.0, -0.1, 2.0, float("nan")])
def test_beta_outside_its_range_is_refused(beta: float) -> None:
    with pytest.raises(TailwiseError, match=r"^EffectiveNumber: beta must lie in \[0, 1\), got [^\n]*$"):
        EffectiveNumber(beta)


@pytest.mark.parametrize(
    ("shares", "total", "given"),
    [
        ([0.25, 0.25, 0.25, 0.25], 6, [2, 2, 1, 1]),
        ([0.1, 0.2, 0.7], 10, [1, 2, 7]),
        ([0.5, 0.26, 0.24], 2, [1, 1, 0]),
        ([0.2, 0.2, 0.6], 1, [0, 0, 1]),
        ([0.0, 1.0], 0, [0, 0]),
        ([0.0, 0.0], 0, [0, 0]),
    ],
)
def test_largest_remainder(shares: list[float], total: int, given: list[int]) -> None:
    assert largest_remainder(torch.tensor(shares, dtype=torch.float64), total).tolist() == given


@pytest.mark.parametrize("options", [{}, {"beta": 0.99}])
def test_a_recipe_can_name_a_sampler(options: dict[str, float]) -> None:
    """The constructor's types are its options."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--sampler", type=Sampler)
    record = parser.parse_object({"sampler": {"class_path": "tailwise.data.samplers.EffectiveNumber", "init_args": options}})
    assert parser.instantiate(record).sampler.beta == options.get("beta", 0.9999)
