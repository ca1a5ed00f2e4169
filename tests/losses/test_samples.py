"""Which rows the contrastive losses compare: images as they are, pixels by classes in turn or by chance."""

import math
from collections import Counter
from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import DIM, Rows, batch
from torch import Tensor
from torch.nn.functional import one_hot

from tailwise import rng
from tailwise.losses import BCL, Balanced, Uniform
from tailwise.losses.samples import Draw, samples
from tailwise.types import IGNORE, Batch, TailwiseError


def test_images_pass_through() -> None:
    given_batch, features = batch("rows", 2, torch.tensor([2, IGNORE, 0]), first=7), torch.randn(2, 3, DIM)
    rows, labels, index = samples(features, given_batch, Balanced(5))
    assert rows is features
    assert labels is given_batch.labels
    assert index.tolist() == [7, 8, 9]


def pixel_batch(labels: Tensor, seed: int = 0) -> Batch:
    index = torch.arange(len(labels))
    return Batch(torch.zeros(1, len(labels), 3, *labels.shape[1:]), labels, index, rng.mix(seed, index))


def in_turn(labels: list[int], count: int) -> Counter[int]:
    """Classes take turns, the smallest first, until the places are given away."""
    left = Counter(c for c in labels if c != IGNORE)
    turns = sorted(((turn, size, c) for c, size in left.items() for turn in range(size)))[:count]
    given_away = Counter(c for _, _, c in turns)
    given_away[IGNORE] = count - sum(given_away.values())
    return +given_away


@st.composite
def maps(draw: st.DrawFn) -> Tensor:
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)))
    size = shape[0] * shape[1] * shape[2]
    return torch.tensor(draw(st.lists(st.sampled_from([IGNORE, 0, 0, 0, 1, 2]), min_size=size, max_size=size))).reshape(shape)


@given(maps(), st.integers(1, 12))
def test_classes_take_turns_and_the_rarest_comes_first(labels: Tensor, count: int) -> None:
    features = one_hot(labels.clamp(min=-1) + 1, 4)[None].double()
    rows, drawn, index = samples(features, pixel_batch(labels), Balanced(count))
    assert rows.shape == (1, len(labels) * count, 4)
    assert index.tolist() == [i for i in range(len(labels)) for _ in range(count)]
    for image, of in zip(labels, drawn.reshape(len(labels), count), strict=True):
        assert +Counter(of.tolist()) == in_turn(image.flatten().tolist(), count)
    kept = drawn >= 0
    assert torch.equal(rows[0, kept].argmax(1) - 1, drawn[kept])  # features are read where the labels are


@given(maps(), st.integers(1, 12))
def test_a_uniform_draw_takes_as_many_as_there_are(labels: Tensor, count: int) -> None:
    features = one_hot(labels.clamp(min=-1) + 1, 4)[None].double()
    rows, drawn, _ = samples(features, pixel_batch(labels), Uniform(count))
    valid = (labels >= 0).flatten(1).sum(1).clamp(max=count)
    assert torch.equal((drawn >= 0).view(-1, count).sum(1), valid)
    kept = drawn >= 0
    assert torch.equal(rows[0, kept].argmax(1) - 1, drawn[kept])


@pytest.mark.parametrize("draw", [Balanced, Uniform])
@pytest.mark.parametrize("kinds", [1, 3, 50])  # 50 classes need blocks that are longer than a line of the image
def test_no_place_is_drawn_twice(draw: type[Draw], kinds: int) -> None:
    places = torch.arange(42.0).reshape(1, 1, 6, 7, 1).expand(1, 2, 6, 7, 1)
    labels = torch.randint(0, kinds, (2, 6, 7), generator=torch.Generator().manual_seed(0))
    for count in (5, 42, 50):
        rows, drawn, _ = samples(places, pixel_batch(labels), draw(count))  # type: ignore[call-arg]
        for seen, of in zip(rows[0, :, 0].view(2, count), drawn.view(2, count), strict=True):
            assert len(set(seen[of >= 0].tolist())) == min(count, 42)


@pytest.mark.parametrize(("draw", "expected"), [(Balanced(6), [3 / 9, 3 / 20]), (Uniform(6), [6 / 29, 6 / 29])])
def test_every_pixel_of_a_class_is_as_likely_as_another(draw: Draw, expected: list[float]) -> None:
    """Over 4000 keys no share is further from what it should be than six standard deviations."""
    keys, labels = 4000, torch.randint(0, 2, (5, 6), generator=torch.Generator().manual_seed(0))
    labels[0, 0] = IGNORE
    labels.view(-1)[1:] = torch.tensor([1] * 20 + [0] * 9)[torch.randperm(29, generator=torch.Generator().manual_seed(1))]
    places = torch.arange(30.0).reshape(1, 1, 5, 6, 1).expand(1, keys, 5, 6, 1)
    rows, drawn, _ = samples(places, pixel_batch(labels.expand(keys, 5, 6)), draw)
    assert bool((drawn >= 0).all())
    share = torch.bincount(rows.flatten().long(), minlength=30) / keys
    assert share[0] == 0
    for label, wanted in enumerate(expected):
        slack = 6 * math.sqrt(wanted * (1 - wanted) / keys)
        torch.testing.assert_close(share[labels.flatten() == label], torch.full(((9, 20)[label],), wanted), rtol=0, atol=slack)


def test_coarse_features_are_read_at_full_resolution_places() -> None:
    """A feature cell covers 2 x 3 pixels; a thin object of one pixel is found and read in its own cell."""
    labels = torch.zeros(1, 8, 9, dtype=torch.int64)
    labels[0, 5, 7] = 1
    cells = torch.arange(12.0).reshape(1, 1, 4, 3, 1)
    rows, drawn, _ = samples(cells, pixel_batch(labels), Balanced(4))
    assert drawn.tolist().count(1) == 1
    assert rows[0, drawn == 1].item() == 2 * 3 + 2


def test_the_draw_depends_on_the_key_alone() -> None:
    labels = torch.randint(0, 3, (3, 6, 6), generator=torch.Generator().manual_seed(0))
    places = torch.arange(36.0).reshape(1, 1, 6, 6, 1).expand(1, 3, 6, 6, 1)
    given_batch, order = pixel_batch(labels), torch.tensor([2, 0, 1])
    rows, _, _ = samples(places, given_batch, Balanced(7))
    moved = given_batch._replace(labels=labels[order], key=given_batch.key[order])
    again, _, _ = samples(places, moved, Balanced(7))
    assert torch.equal(again.reshape(3, 7), rows.reshape(3, 7)[order])
    other, _, _ = samples(places, pixel_batch(labels, seed=1), Balanced(7))
    assert not torch.equal(other, rows)


def test_an_image_without_labels_gives_no_label_and_as_many_places() -> None:
    labels = torch.full((2, 4, 4), IGNORE)
    labels[1, 3, 3] = 2
    for draw in (Balanced(3), Uniform(3)):
        rows, drawn, index = samples(torch.ones(1, 2, 2, 2, 3), pixel_batch(labels), draw)
        assert drawn.tolist() == [IGNORE] * 3 + [2, IGNORE, IGNORE]
        assert index.tolist() == [0, 0, 0, 1, 1, 1]
        assert bool((rows == 1).all())


def test_a_draw_is_a_value() -> None:
    assert Balanced() == Balanced(64)
    assert BCL([3, 1], Rows(2)).pixels == Balanced()
    assert BCL([3, 1], Rows(2), pixels=Uniform(8)).pixels == Uniform(8)
    with pytest.raises(FrozenInstanceError):
        Balanced().per_image = 3  # type: ignore[misc]
    for draw in (Balanced, Uniform):
        with pytest.raises(TailwiseError, match=f"^{draw.__name__}: per_image must be at least 1, got 0$"):
            draw(0)
