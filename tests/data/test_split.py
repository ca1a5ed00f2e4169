"""Held-out parts: shares, promises on random input, and errors that name the class."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailwise.data import hold_out
from tailwise.data.split import bursts
from tailwise.types import TailwiseError


def test_shares_of_each_class() -> None:
    labels = torch.arange(3).repeat_interleave(torch.tensor([100, 20, 2]))
    kept, held = hold_out(labels, 0.1, seed=0)
    assert torch.bincount(labels[held]).tolist() == [10, 2, 1]  # at least one
    assert torch.bincount(labels[kept]).tolist() == [90, 18, 1]


@given(st.lists(st.integers(2, 30), min_size=1, max_size=6), st.floats(0.01, 0.99), st.integers(0, 2**40))
def test_parts_cover_and_keep_every_class(counts: list[int], fraction: float, seed: int) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    kept, held = hold_out(labels, fraction, seed)
    assert sorted(kept.tolist() + held.tolist()) == list(range(len(labels)))
    assert kept.tolist() == sorted(kept.tolist())
    assert held.tolist() == sorted(held.tolist())
    for part in (kept, held):
        assert bool((torch.bincount(labels[part], minlength=len(counts)) >= 1).all())
    assert torch.equal(held, hold_out(labels, fraction, seed)[1])


def test_seeds_hold_different_images() -> None:
    labels = torch.zeros(1000, dtype=torch.int64)
    held = [set(hold_out(labels, 0.5, seed)[1].tolist()) for seed in (0, 1)]
    assert 200 < len(held[0] & held[1]) < 300  # half of 500, were they independent


def test_absent_classes_are_passed_over() -> None:
    _, held = hold_out(torch.tensor([0, 0, 5, 5]), 0.5, seed=0)
    assert len(held) == 2


def test_a_class_of_one_image_is_named() -> None:
    labels = torch.tensor([0, 0, 1])
    with pytest.raises(TailwiseError, match="class 'owl' has 1 image"):
        hold_out(labels, 0.2, seed=0, names=("dog", "owl"))
    with pytest.raises(TailwiseError, match="class 1 has 1 image"):
        hold_out(labels, 0.2, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2, float("nan")])
def test_fraction_outside_is_refused(fraction: float) -> None:
    with pytest.raises(TailwiseError, match="between 0 and 1"):
        hold_out(torch.tensor([0, 0]), fraction, seed=0)


@given(st.integers(0, 2**40), st.integers(2, 5), st.integers(3, 12))
def test_groups_stay_whole(seed: int, classes: int, per_class: int) -> None:
    """Each group holds images of two classes, so a choice for one class moves another."""
    labels = torch.arange(classes).repeat_interleave(per_class * 2)
    groups = [f"{min(c, (c + 1) % classes)}-{i % per_class}" for i, c in enumerate(labels.tolist())]
    kept, held = hold_out(labels, 0.3, seed, groups)
    assert sorted(kept.tolist() + held.tolist()) == list(range(len(labels)))
    assert not {groups[i] for i in kept.tolist()} & {groups[i] for i in held.tolist()}
    for part in (kept, held):
        assert set(labels[part].tolist()) == set(range(classes))


def test_group_shares_come_near_the_fraction() -> None:
    labels = torch.arange(2).repeat_interleave(torch.tensor([400, 100]))
    groups = [f"{int(c)}-{i // 5}" for i, c in enumerate(labels)]
    _, held = hold_out(labels, 0.2, 3, groups)
    assert torch.bincount(labels[held]).tolist() == [80, 20]


def test_a_class_in_one_group_is_named() -> None:
    with pytest.raises(TailwiseError, match="class 'owl' cannot be split without tearing a group"):
        hold_out(torch.tensor([0, 0, 1, 1]), 0.5, 0, ["a", "b", "c", "c"], names=("dog", "owl"))


def test_a_class_that_cannot_be_split_may_be_kept_whole() -> None:
    kept, held = hold_out(torch.tensor([0, 0, 0, 1]), 0.4, 0, least=0)
    assert 3 in kept
    assert len(held) == 1
    kept, held = hold_out(torch.tensor([0, 0, 1, 1]), 0.5, 0, ["a", "b", "c", "c"], least=0)
    assert {2, 3} <= set(kept.tolist())
    assert len(held) == 1


def places(*files: str) -> list[tuple[Path, Path]]:
    return [(Path("d", file.split("/")[0]), Path("d", file)) for file in files]


def test_folders_below_a_class_are_bursts_of_any_class_and_loose_images_stand_alone() -> None:
    found = bursts(places("deer/s1/a.jpg", "deer/s1/x/b.jpg", "deer/s2/c.jpg", "fox/s1/a.jpg", "fox/a.jpg", "fox/b.jpg"))
    assert found is not None
    assert found[:4] == ["s1", "s1", "s2", "s1"]
    assert len(set(found[3:])) == 3


def test_one_folder_below_each_class_is_mere_layout() -> None:
    assert bursts(places("deer/images/a.jpg", "deer/images/b.jpg", "fox/images/a.jpg")) is None
    assert bursts(places("deer/a.jpg", "fox/a.jpg")) is None


@given(st.integers(0, 2**40))
def test_a_burst_is_never_torn_and_every_class_of_two_bursts_is_held(seed: int) -> None:
    files = [f"{c}/{c}{b}/{i}.jpg" for c, n in (("a", 9), ("b", 4), ("c", 2), ("d", 1)) for b in range(n) for i in range(3)]
    groups = bursts(places(*files))
    assert groups is not None
    labels = torch.tensor(["abcd".index(file[0]) for file in files])
    kept, held = hold_out(labels, 0.2, seed, groups, least=0)
    assert not {groups[i] for i in kept.tolist()} & {groups[i] for i in held.tolist()}
    assert set(labels[held].tolist()) == {0, 1, 2}  # the one burst of d stays in training
    assert set(labels[kept].tolist()) == {0, 1, 2, 3}


def test_of_one_large_and_one_small_group_the_fitting_one_is_held() -> None:
    for seed in range(20):
        assert len(hold_out(torch.zeros(100, dtype=torch.int64), 0.2, seed, 95 * ["a"] + 5 * ["b"], least=0)[1]) == 5


@pytest.mark.parametrize("seed", range(4))
def test_sites_of_very_different_size_give_about_the_share(seed: int) -> None:
    """Thirty sites, the largest with a third of all images; twelve species, each at five sites or so, most at few of them."""
    draw = torch.Generator().manual_seed(seed)
    labels, groups = [], []
    for site in range(30):
        number = int(3000 / (site + 1) ** 1.2) + 20
        there = torch.randperm(12, generator=draw)[:5]
        labels.append(there[torch.multinomial(1 / (there + 1.0), number, replacement=True, generator=draw)])
        groups += [f"site {site}"] * number
    every = torch.cat(labels)
    _, held = hold_out(every, 0.2, 0, groups, least=0)
    assert 0.12 < len(held) / len(every) < 0.28
    assert float((every[held].bincount(minlength=12) / every.bincount(minlength=12)).max()) < 0.5
