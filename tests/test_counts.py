"""Class counts and what follows from them, with the rule for zero counts."""

import math
from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from tailwise.counts import (
    absent,
    allocate,
    as_counts,
    count_labels,
    effective_number,
    from_labels,
    imbalance_factor,
    log_prior,
    shot_groups,
    thirds,
    turns,
    with_aliases,
)
from tailwise.types import IGNORE, TailwiseError


class Told(SimpleNamespace):
    """A data set in the manner of torchvision's."""

    def __len__(self) -> int:
        return len(self.targets)


DATA = Told(targets=[0, 2, 0, 2, 0], classes=["a", "b", "c"])
SPECIES = ["fox"] * 20 + ["elk"] * 40 + ["owl"] * 2 + ["ape"] * 6

some_counts = st.lists(st.integers(0, 10**9), min_size=1, max_size=12)


@pytest.mark.parametrize(
    "counts",
    [
        [3, 0, 2],
        torch.tensor([3.0, 0, 2]),
        np.array([3, 0, 2]),
        (3, 0, 2),
        Counter({2: 2, 0: 3, 1: 0}),  # numbers say which class, whatever their order
        {np.int64(1): 0, np.int64(0): 3, np.int64(2): 2},
        DATA,
        SimpleNamespace(labels=torch.tensor([0, 2, 0, 2, 0]), classes=["a", "b", "c"]),
        SimpleNamespace(targets=["a", "c", "a", "c", "a"], classes=["a", "b", "c"]),
        Subset(SimpleNamespace(targets=[0, 1, 2, 0, 2, 0], classes=["a", "b", "c"]), [0, 2, 3, 4, 5]),
        Subset(Subset(DATA, range(5)), torch.arange(5)),
        ConcatDataset([Subset(DATA, [0, 1]), Subset(DATA, [2, 3, 4])]),
        np.array([3, 0, 2], dtype=np.uint16),
        [np.int64(3), 0.0, torch.tensor(2)],
    ],
)
def test_counts_from_what_people_have(counts: object) -> None:
    made = as_counts(counts)
    assert made.dtype == torch.int64
    assert made.tolist() == [3, 0, 2]


def test_counts_from_a_series() -> None:
    pandas = pytest.importorskip("pandas")
    species = pandas.Series([1, 0, 0, 0, 1, 2])
    assert as_counts(species.value_counts()).tolist() == [3, 2, 1]
    assert as_counts(species[:5].replace(0, 2).value_counts().reindex(range(3), fill_value=0)).tolist() == [0, 2, 3]


def test_names_stand_in_the_order_of_the_classes_and_never_in_that_of_the_counts() -> None:
    classes = ["ape", "elk", "fox", "newt", "owl"]
    for counts in (Counter(SPECIES), pytest.importorskip("pandas").Series(SPECIES).value_counts()):
        assert as_counts(counts, classes).tolist() == [6, 40, 20, 0, 2]
        with pytest.raises(TailwiseError, match=r"which class is '(fox|elk)'\? give as_counts\(counts, classes=names\)"):
            as_counts(counts)
    with pytest.raises(TailwiseError, match="'owl' is none of the 3 classes"):
        as_counts(Counter(SPECIES), ["ape", "elk", "fox"])
    for mixed in ({"1": 2, "0": 40}, {0: 4, "b": 5}, {0.0: 4, 1.0: 5}):
        with pytest.raises(TailwiseError, match="which class is"):
            as_counts(mixed)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([], "one whole number per class"),
        ([[1, 2]], "one whole number per class"),
        ([0.2, 0.8], "fractions"),
        ([5, -1], "negative count for class 1"),
        ([5, math.nan], "not finite"),
        ([5, math.inf], "not finite"),
        (Counter([0, 0, 2]), "no count for class 1; .* count 0"),
        (SimpleNamespace(targets=[0, 1]), "no counts in a SimpleNamespace; .* counts.from_labels"),
        (TensorDataset(torch.zeros(3, 2), torch.tensor([0, 1, 1])), "no counts in a TensorDataset; .* counts.from_labels"),
        (Subset(TensorDataset(torch.zeros(3)), [0]), "no counts in a Subset"),
        (ConcatDataset([DATA, Told(targets=[0], classes=["z"])]), "no counts in a ConcatDataset"),
        (DataLoader(TensorDataset(torch.zeros(3))), "no counts in a DataLoader"),
        (None, "no counts in a NoneType"),
        ("abc", "no counts in a str"),
        (["3", "2"], "no counts in a list"),
        ([[3], [2, 1]], "no counts in a list"),
        ([True, False], "whole number per class, got torch.bool"),
        (torch.tensor([True, False]), "whole number per class, got torch.bool"),
    ],
)
def test_what_is_no_count_is_refused(counts: list[float], message: str) -> None:
    with pytest.raises(TailwiseError, match=message):
        as_counts(counts)


@pytest.mark.parametrize(
    "labels", [[0, 2, 0, 2, 0], torch.tensor([0, 2, IGNORE, 0, 2, 0]), np.array([[0, 2, 0], [2, 0, IGNORE]])]
)
def test_counts_from_a_label_vector(labels: object) -> None:
    assert from_labels(labels, 3).tolist() == [3, 0, 2]


def test_counts_from_names() -> None:
    names, series = ["fox", "owl", "fox", "elk", "fox"], pytest.importorskip("pandas").Series
    for seen in (names, tuple(names), np.array(names), series(names)):
        assert from_labels(seen, ["elk", "fox", "newt", "owl"]).tolist() == [1, 3, 0, 1]
    assert from_labels([], 2).tolist() == from_labels([], ["elk", "fox"]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 1, 3], 3, "3 is outside 0..2"),
        ([0, -1], 2, "-1 is outside 0..1"),
        ([0.0, 1.0], 2, "float64 are no class numbers"),
        ([True, False], 2, "bool are no class numbers"),
        (["elk", "fox"], 2, "or names and classes=names"),
        (["elk", "fawn"], ["elk", "fox"], "'fawn' is none of the 2 classes"),
    ],
)
def test_what_is_no_label_is_refused(labels: list[object], classes: int | list[str], message: str) -> None:
    with pytest.raises(TailwiseError, match=message):
        from_labels(labels, classes)


def test_the_argument_counts_has_other_names() -> None:
    @with_aliases
    def shares(counts: list[int], of: int = 1) -> list[float]:
        return [n / of for n in counts]

    assert shares([4], of=2) == shares(counts=[4], of=2) == shares(class_counts=[4], of=2) == shares(cls_num_list=[4], of=2)
    with pytest.raises(TypeError):
        shares([4], cls_num_list=[4])
    with pytest.raises(TypeError):
        shares(counts=[4], class_counts=[4])


FUNCTIONS = {
    "absent": absent,
    "log_prior": log_prior,
    "imbalance_factor": imbalance_factor,
    "effective_number": partial(effective_number, beta=0.9),
    "allocate": partial(allocate, size=12, floor=2),
    "shot_groups": shot_groups,
    "thirds": thirds,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_follows_takes_counts_in_any_form_and_no_shares(name: str) -> None:
    function = FUNCTIONS[name]
    expected = function(torch.tensor([300, 0, 20]))
    for found in (function([300, 0, 20]), function(Counter({2: 20, 0: 300, 1: 0})), function(cls_num_list=[300, 0, 20])):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with pytest.raises(TailwiseError, match="fractions found"):
        function(torch.tensor([0.3, 0.7]))


def test_count_labels() -> None:
    labels = torch.tensor([[0, 2, IGNORE], [2, 5, -1]])
    assert count_labels(labels, 4).tolist() == [1, 0, 2, 0]
    assert count_labels(torch.tensor([], dtype=torch.int64), 2).tolist() == [0, 0]


@given(some_counts)
def test_log_prior_is_a_distribution_and_floors_zeros(counts: list[int]) -> None:
    prior = log_prior(torch.tensor(counts))
    floored = [max(n, 1) for n in counts]
    assert prior.dtype == torch.float64
    assert prior.exp().tolist() == pytest.approx([n / sum(floored) for n in floored], rel=1e-12)


def test_absent_and_imbalance() -> None:
    counts = torch.tensor([50, 0, 5])
    assert absent(counts).tolist() == [False, True, False]
    assert imbalance_factor(counts) == 10
    assert imbalance_factor(torch.tensor([0, 0])) == 1


@pytest.mark.parametrize(
    ("beta", "weights"), [(0.99, (0.075973, 0.503715, 2.420312)), (0.9999, (0.049414, 0.491928, 2.458657))]
)
def test_effective_numbers_give_the_class_balanced_weights(beta: float, weights: tuple[float, ...]) -> None:
    inverse = 1 / effective_number(torch.tensor([100, 10, 2]), beta)
    assert (3 * inverse / inverse.sum()).tolist() == pytest.approx(weights, abs=5e-7)


def test_effective_number_limits() -> None:
    assert effective_number(torch.tensor([100, 1, 0]), 0.0).tolist() == [1, 1, 1]
    assert effective_number(torch.tensor([3]), 0.5).tolist() == [1.75]
    for beta in (1.0, -0.1):
        with pytest.raises(TailwiseError, match="beta"):
            effective_number(torch.tensor([3]), beta)


def exponential(classes: int, largest: int, factor: int) -> torch.Tensor:
    """CIFAR-LT: n_c = int(n_max · r^(c / (C − 1)))."""
    return torch.tensor([int(largest * (1 / factor) ** (c / (classes - 1))) for c in range(classes)])


@pytest.mark.parametrize(
    ("classes", "factor", "total", "head", "tail"),
    [
        (100, 100, 10847, [182, 173, 166], [4, 4, 4, 4, 3]),
        (100, 50, 12608, [157, 150, 145], [6, 5, 5, 5, 5]),
        (100, 10, 19573, [102, 99, 97], [12, 13, 12, 13, 11]),
        (100, 200, 9502, [], []),
        (10, 100, 12406, [1645, 987, 592], [48, 29, 18]),
        (10, 50, 13996, [], []),
        (10, 10, 20431, [], []),
        (10, 200, 11203, [], []),
    ],
)
def test_slots_of_the_long_tailed_cifars(classes: int, factor: int, total: int, head: list[int], tail: list[int]) -> None:
    counts = exponential(classes, 50_000 // classes, factor)
    assert counts.sum() == total
    slots = allocate(counts, 4096, 2).tolist()
    assert sum(slots) == 4096
    assert slots[: len(head)] == head
    assert slots[len(slots) - len(tail) :] == tail


@given(some_counts, st.integers(1, 5), st.integers(0, 5000))
def test_slots_sum_to_the_size_and_keep_the_floor(counts: list[int], floor: int, more: int) -> None:
    size = floor * len(counts) + more
    slots = allocate(torch.tensor(counts), size, floor)
    assert slots.dtype == torch.int64
    assert slots.sum() == size
    assert bool((slots >= floor).all())
    share = log_prior(torch.tensor(counts)).exp() * more
    assert bool(((slots - floor - share).abs() < 1 + 1e-6).all())


def test_impossible_slots_are_refused() -> None:
    with pytest.raises(TailwiseError, match="at least 6"):
        allocate(torch.tensor([5, 5, 5]), 5, 2)
    with pytest.raises(TailwiseError, match="floor"):
        allocate(torch.tensor([5, 5, 5]), 5, 0)


def test_shot_groups_at_their_edges() -> None:
    groups = shot_groups(torch.tensor([101, 100, 20, 19, 0]))
    assert {name: mask.nonzero().flatten().tolist() for name, mask in groups.items()} == {
        "many": [0], "medium": [1, 2], "few": [3, 4],
    }  # fmt: skip


@given(some_counts)
def test_groups_are_partitions(counts: list[int]) -> None:
    for groups in (shot_groups(torch.tensor(counts)), thirds(torch.tensor(counts))):
        assert torch.stack(list(groups.values())).sum(0).tolist() == [1] * len(counts)


def test_thirds_follow_the_counts_not_the_order() -> None:
    groups = thirds(torch.tensor([5, 100, 1, 50, 5, 7, 2]))
    assert {name: mask.nonzero().flatten().tolist() for name, mask in groups.items()} == {
        "head": [1, 3], "middle": [0, 4, 5], "tail": [2, 6],
    }  # fmt: skip


@given(st.lists(st.integers(0, 5), max_size=6))
def test_turns_count_up_within_each_group(sizes: list[int]) -> None:
    assert turns(torch.tensor(sizes, dtype=torch.int64)).tolist() == [i for n in sizes for i in range(n)]


def test_a_mapping_is_no_label_vector() -> None:
    with pytest.raises(TailwiseError, match=r"use counts\.as_counts"):
        from_labels({"fox": 20, "elk": 40}, classes=["elk", "fox"])
