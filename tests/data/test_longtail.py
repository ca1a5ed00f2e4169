"""The long-tail protocol against published counts and subsets, and its promises on random input."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailwise.counts import imbalance_factor, shot_groups
from tailwise.data import counts_from_file, largest_fitting, long_tailed, profile
from tailwise.types import TailwiseError

CIFAR10_LABELS = torch.arange(10).repeat_interleave(5000)
CIFAR100_LABELS = torch.arange(100).repeat_interleave(500)


def test_cifar10_counts_at_100() -> None:
    assert profile(5000, 10, 100).tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


@pytest.mark.parametrize(
    ("largest", "classes", "factor", "total", "smallest"),
    [
        (5000, 10, 10, 20431, 500),
        (5000, 10, 50, 13996, 100),
        (5000, 10, 100, 12406, 50),
        (5000, 10, 200, 11203, 25),
        (500, 100, 10, 19573, 50),
        (500, 100, 50, 12608, 10),
        (500, 100, 100, 10847, 5),
        (500, 100, 200, 9502, 2),
    ],
)
def test_published_totals(largest: int, classes: int, factor: float, total: int, smallest: int) -> None:
    counts = profile(largest, classes, factor)
    assert (int(counts.sum()), int(counts[-1])) == (total, smallest)


@pytest.mark.parametrize(
    ("factor", "groups"), [(10, [69, 31, 0]), (50, [41, 41, 18]), (100, [35, 35, 30]), (200, [30, 31, 39])]
)
def test_published_shot_groups(factor: float, groups: list[int]) -> None:
    assert [int(mask.sum()) for mask in shot_groups(profile(500, 100, factor)).values()] == groups


def test_step_profile() -> None:
    assert profile(500, 4, 10, "step").tolist() == [500, 500, 50, 50]
    assert profile(500, 5, 7, "step").tolist() == [500, 500, 71, 71, 71]  # 500 / 7 = 71.4


def test_tiny_profiles_never_empty_unless_asked() -> None:
    assert profile(20, 3, 1000).tolist() == [20, 1, 1]
    assert profile(20, 3, 1000, allow_empty=True).tolist() == [20, 0, 0]
    assert profile(7, 1, 10).tolist() == [7]


@pytest.mark.parametrize("factor", [0.99, 0, -3, float("nan"), float("inf")])
def test_factor_below_one_is_refused(factor: float) -> None:
    with pytest.raises(TailwiseError, match="imbalance factor: must be at least 1"):
        profile(10, 3, factor)


def test_unknown_kind_and_no_images_are_refused() -> None:
    with pytest.raises(TailwiseError, match="unknown kind 'linear'"):
        profile(10, 3, 2, "linear")  # type: ignore[arg-type]
    with pytest.raises(TailwiseError, match="at least one image and one class"):
        profile(0, 3, 2)


@given(st.integers(1, 6000), st.integers(2, 60), st.floats(1, 5000), st.sampled_from(["exp", "step"]))
def test_profile_falls_from_the_largest(largest: int, classes: int, factor: float, kind: str) -> None:
    counts = profile(largest, classes, factor, kind)  # type: ignore[arg-type]
    assert int(counts[0]) == largest
    assert bool((counts.diff() <= 0).all())
    assert int(counts[-1]) == max(1, int(largest * (1 / factor)))
    assert imbalance_factor(counts) >= 1


@given(
    st.lists(st.integers(1, 300), min_size=2, max_size=8),
    st.floats(1, 500),
    st.sampled_from(["exp", "step"]),
    st.booleans(),
)
def test_largest_fitting_is_the_largest(available: list[int], factor: float, kind: str, allow_empty: bool) -> None:
    have = torch.tensor(available)

    def fits(largest: int) -> bool:
        wanted = profile(largest, len(have), factor, kind, allow_empty=allow_empty)  # type: ignore[arg-type]
        return bool((wanted <= have).all())

    slow = max(n for n in range(1, max(available) + 1) if fits(n))
    assert largest_fitting(have, factor, kind, allow_empty=allow_empty) == slow  # type: ignore[arg-type]


def test_largest_fitting_with_an_empty_class() -> None:
    with pytest.raises(TailwiseError, match="class 1 has no image"):
        largest_fitting(torch.tensor([5, 0]), 10)
    assert largest_fitting(torch.tensor([5, 0]), 10, allow_empty=True) == 5


@pytest.mark.parametrize(
    ("labels", "classes", "largest", "first", "last"),
    [
        (CIFAR10_LABELS, 10, 5000, [398, 3833, 4836, 4572, 636, 2545], [2204, 3816, 2206, 2507, 1926]),
        (CIFAR100_LABELS, 100, 500, [90, 254, 283, 445, 461, 15], [348, 153, 363, 361, 299]),
    ],
)
def test_published_positions(labels: torch.Tensor, classes: int, largest: int, first: list[int], last: list[int]) -> None:
    """Positions within the class, of a run of the LDAM generator."""
    counts = profile(largest, classes, 100)
    chosen = long_tailed(labels, counts)
    assert chosen[: len(first)].tolist() == first
    start = int(counts[:-1].sum())
    assert (chosen[start : start + len(last)] - (classes - 1) * largest).tolist() == last


@pytest.mark.parametrize(
    ("labels", "largest", "factor", "sha256"),
    [
        (CIFAR10_LABELS, 5000, 10, "2b3a8656bec514c6"),
        (CIFAR10_LABELS, 5000, 50, "7bb90363b243a944"),
        (CIFAR10_LABELS, 5000, 100, "8a54f5b6fa972295"),
        (CIFAR100_LABELS, 500, 10, "5906ba7310b91b5e"),
        (CIFAR100_LABELS, 500, 50, "1bc82de2629e5cbd"),
        (CIFAR100_LABELS, 500, 100, "f123ec136d44ab1b"),
    ],
)
def test_published_subsets(labels: torch.Tensor, largest: int, factor: float, sha256: str) -> None:
    """The hash is over the positions within each class, class after class, as little-endian int64."""
    counts = profile(largest, len(labels) // largest, factor)
    within = long_tailed(labels, counts) % largest
    assert hashlib.sha256(within.numpy().astype("<i8").tobytes()).hexdigest()[:16] == sha256


@given(st.integers(0, 2**31), st.lists(st.integers(0, 40), min_size=1, max_size=6), st.data())
def test_subset_has_the_counts_and_no_image_twice(seed: int, available: list[int], data: st.DataObject) -> None:
    order = torch.from_numpy(np.random.default_rng(seed).permutation(sum(available)))
    labels = torch.arange(len(available)).repeat_interleave(torch.tensor(available))[order]
    wanted = torch.tensor([data.draw(st.integers(0, n)) for n in available])
    chosen = long_tailed(labels, wanted, seed, allow_empty=True)
    assert chosen.dtype == torch.int64
    assert len(set(chosen.tolist())) == len(chosen)
    assert torch.equal(labels[chosen], torch.arange(len(available)).repeat_interleave(wanted))


def test_subsets_are_nested_and_differ_by_seed() -> None:
    small, large = (set(long_tailed(CIFAR10_LABELS, profile(5000, 10, f)).tolist()) for f in (100, 10))
    assert small < large
    assert small != set(long_tailed(CIFAR10_LABELS, profile(5000, 10, 100), seed=1).tolist())


def test_global_generator_is_untouched() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    long_tailed(CIFAR10_LABELS, profile(5000, 10, 100))
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_more_than_there_are_and_empty_classes_are_refused() -> None:
    labels = torch.tensor([0, 0, 1])
    with pytest.raises(TailwiseError, match="class 'dog' has 1 images, 2 are wanted"):
        long_tailed(labels, torch.tensor([2, 2]), names=("cat", "dog"))
    with pytest.raises(TailwiseError, match="class 0 would be empty"):
        long_tailed(labels, torch.tensor([0, 1]))


@pytest.mark.parametrize("text", ["5\n3\n\n2\n", "2 2\n0 5\n1 3", "dog 5\nblack cat 3\n2 2", "\ufeff5\r\n3\r\n2\r\n"])
def test_counts_file(tmp_path, text: str) -> None:
    (tmp_path / "counts.txt").write_text(text, encoding="utf-8")
    assert counts_from_file(tmp_path / "counts.txt", 3, ("dog", "black cat", "owl")).tolist() == [5, 3, 2]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5\n3\n", "2 counts for 3 classes"),
        ("5\n3\n2\n1\n", "4 counts for 3 classes"),
        ("0 5\n0 3\n1 2", "line 2: class 0 has two counts"),
        ("5\n-3\n2", "line 2: '-3' is not a count"),
        ("5\n3.5\n2", "line 2: '3.5' is not a count"),
        ("0 5\n1 3\n7 2", "line 3: no class '7'"),
    ],
)
def test_bad_counts_files_are_refused(tmp_path, text: str, problem: str) -> None:
    (tmp_path / "counts.txt").write_text(text)
    with pytest.raises(TailwiseError, match=problem):
        counts_from_file(tmp_path / "counts.txt", 3)


def test_no_counts_file(tmp_path) -> None:
    with pytest.raises(TailwiseError, match="cannot read the counts file"):
        counts_from_file(tmp_path / "none.txt", 3)
