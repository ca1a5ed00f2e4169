"""Which rows the contrastive losses compare: images as they are, pixels rarest class first."""

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import DIM, batch
from torch import Tensor
from torch.nn.functional import one_hot

from tailwise import rng
from tailwise.losses.samples import PIXELS, samples
from tailwise.types import IGNORE, Batch


def test_images_pass_through() -> None:
    given_batch, features = batch("rows", 2, torch.tensor([2, IGNORE, 0]), first=7), torch.randn(2, 3, DIM)
    rows, labels, index = samples(features, given_batch, 5)
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
    rows, drawn, index = samples(features, pixel_batch(labels), count)
    assert rows.shape == (1, len(labels) * count, 4)
    assert index.tolist() == [i for i in range(len(labels)) for _ in range(count)]
    for image, of in zip(labels, drawn.reshape(len(labels), count), strict=True):
        assert +Counter(of.tolist()) == in_turn(image.flatten().tolist(), count)
    kept = drawn >= 0
    assert torch.equal(rows[0, kept].argmax(1) - 1, drawn[kept])  # features are read where the labels are


def test_no_place_is_drawn_twice() -> None:
    places = torch.arange(36.0).reshape(1, 1, 6, 6, 1)
    rows, _, _ = samples(places, pixel_batch(torch.randint(0, 3, (1, 6, 6))), 36)
    assert sorted(rows.flatten().tolist()) == list(range(36))


def test_coarse_features_are_read_at_full_resolution_places() -> None:
    """A feature cell covers 2 x 3 pixels; a thin object of one pixel is found and read in its own cell."""
    labels = torch.zeros(1, 8, 9, dtype=torch.int64)
    labels[0, 5, 7] = 1
    cells = torch.arange(12.0).reshape(1, 1, 4, 3, 1)
    rows, drawn, _ = samples(cells, pixel_batch(labels), 4)
    assert drawn.tolist().count(1) == 1
    assert rows[0, drawn == 1].item() == 2 * 3 + 2


def test_the_draw_depends_on_the_key_alone() -> None:
    labels = torch.randint(0, 3, (3, 6, 6), generator=torch.Generator().manual_seed(0))
    places = torch.arange(36.0).reshape(1, 1, 6, 6, 1).expand(1, 3, 6, 6, 1)
    given_batch, order = pixel_batch(labels), torch.tensor([2, 0, 1])
    rows, _, _ = samples(places, given_batch, 7)
    moved = given_batch._replace(labels=labels[order], key=given_batch.key[order])
    again, _, _ = samples(places, moved, 7)
    assert torch.equal(again.reshape(3, 7), rows.reshape(3, 7)[order])
    other, _, _ = samples(places, pixel_batch(labels, seed=1), 7)
    assert not torch.equal(other, rows)


def test_default_number_of_places() -> None:
    labels = torch.zeros(2, 10, 10, dtype=torch.int64)
    rows, drawn, _ = samples(torch.zeros(1, 2, 5, 5, 3), pixel_batch(labels))
    assert rows.shape == (1, 2 * PIXELS, 3)
    assert drawn.shape == (2 * PIXELS,)
