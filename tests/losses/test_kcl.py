"""k-positive contrast against loops, and the draw of its positives."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import compare, on_sphere
from losses.slow import dot
from tiny import Rows, batch
from torch.autograd import gradcheck

from tailwise import rng
from tailwise.losses.kcl import KCL, draw, weighted_contrastive
from tailwise.losses.momentum import Lookup
from tailwise.losses.supcon import supervised_contrastive
from tailwise.types import IGNORE, TailwiseError


@given(st.integers(0, 2**20), st.integers(1, 4), st.integers(1, 6), st.data())
def test_equals_the_loop(seed: int, rows: int, columns: int, data: st.DataObject) -> None:
    queries, keys = on_sphere(seed, rows, 3), on_sphere(seed + 1, columns, 3)
    present = torch.tensor(data.draw(st.lists(st.booleans(), min_size=columns, max_size=columns)))
    present[0] = True
    places = torch.randint(0, columns, (rows, 3), generator=torch.Generator().manual_seed(seed))
    weights = torch.randint(0, 3, (rows, 3), generator=torch.Generator().manual_seed(seed + 1)) * 0.4
    weights = (weights * present[places]).double()
    expected = []
    for q, place, weight in zip(queries, places.tolist(), weights.tolist(), strict=True):
        total = sum(exp(dot(q, k) / 0.3) for k, there in zip(keys, present, strict=True) if there)
        terms = [-w * log(exp(dot(q, keys[p]) / 0.3) / total) for p, w in zip(place, weight, strict=True) if w > 0]
        expected.append(sum(terms) / len(terms) if terms else 0.0)
    compare(weighted_contrastive(queries, keys, present, places, weights, 0.3), expected)


def test_gradient() -> None:
    places, weights = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[1.0, 0.2], [1.0, 0.0]]).double()
    present, inputs = torch.tensor([True, True, True, False]), (on_sphere(1, 2, 3), on_sphere(2, 4, 3))
    gradcheck(lambda q, k: weighted_contrastive(q, k, present, places, weights, 0.3), tuple(x.requires_grad_() for x in inputs))


@given(st.integers(0, 2**20), st.integers(1, 7), st.integers(1, 5))
def test_a_draw_is_of_candidates_without_replacement(seed: int, columns: int, count: int) -> None:
    candidates = torch.rand(9, columns, generator=torch.Generator().manual_seed(seed)) < 0.5
    places, weights = draw(rng.mix(seed, torch.arange(9)), torch.arange(columns), candidates, count)
    for row, place, weight in zip(candidates, places.tolist(), weights.tolist(), strict=True):
        drawn = [p for p, w in zip(place, weight, strict=True) if w == 1]
        assert len(set(drawn)) == len(drawn) == min(count, int(row.sum()))
        assert all(row[p] for p in drawn)


def test_every_candidate_is_drawn_equally_often() -> None:
    candidates = torch.tensor([True, False, True, True, True]).expand(4000, 5)
    places, weights = draw(rng.mix(3, torch.arange(4000)), torch.arange(5), candidates, 2)
    assert bool((weights == 1).all())
    shares = torch.bincount(places.flatten(), minlength=5) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.0, 0.5, 0.5, 0.5]), rtol=0, atol=0.04)  # 5 standard deviations


def looked(objective: KCL, seed: int) -> tuple[Lookup, list[list[int]], list[list[float]]]:
    """What a step of labels 0, 0, 1, IGNORE sees after one of labels 0, 0, 0, 2, and the positives it draws."""
    model = Rows(3)
    past, given_batch = batch("rows", 3, torch.tensor([0, 0, 0, 2])), batch("rows", 3, torch.tensor([0, 0, 1, IGNORE]), seed)
    objective.train()(model(past.views[:2]), past)
    seen = objective.eval().look(model(given_batch.views[:2]), given_batch)
    places, weights = objective.drawn(seen, given_batch)
    return seen, places.tolist(), weights.tolist()


def test_positives_are_the_own_view_and_k_others_of_the_class() -> None:
    drawn = set()
    for seed in range(50):
        seen, places, weights = looked(KCL([6, 3, 1], Rows(3), positives=2, queue_size=8), seed)
        assert [row[0] for row in places] == [0, 1, 2, 3]
        assert weights == [[1, 1, 1], [1, 1, 1], [1, 0, 0], [1, 0, 0]]  # class 1 has no other key
        assert seen.key_labels[torch.tensor(places[:2])].tolist() == [[0, 0, 0]] * 2
        assert len({*places[0]}) == 3
        drawn.add(frozenset(places[0][1:]))
    assert len(drawn) == 6  # all pairs of the four other keys of class 0


def test_fewer_than_k_are_all() -> None:
    _, places, weights = looked(KCL([6, 3, 1], Rows(3), queue_size=8), 0)
    assert [sorted(p for p, w in zip(*row, strict=True) if w) for row in zip(places[:3], weights, strict=False)] == [
        [0, 1, 4, 5, 6],
        [0, 1, 4, 5, 6],
        [2],
    ]


def test_the_draw_follows_from_the_batch_alone() -> None:
    first = looked(KCL([6, 3, 1], Rows(3), positives=2, queue_size=8), 5)[1]
    torch.manual_seed(7)
    assert looked(KCL([6, 3, 1], Rows(3), positives=2, queue_size=8), 5)[1] == first


def test_pixels_of_an_image_draw_apart() -> None:
    labels = torch.zeros(16).long()
    rows, place = torch.zeros(16, 3), torch.arange(16)
    seen = Lookup(rows, labels, place // 8, rows, labels, place // 8, place)
    given_batch = batch("rows", 3, torch.zeros(2).long())
    places, _ = KCL([6, 3, 1], Rows(3), positives=3).drawn(seen, given_batch)
    assert len({frozenset(row[1:]) for row in places.tolist()}) > 10


def test_with_every_key_drawn_it_is_supervised_contrast() -> None:
    torch.manual_seed(0)
    model = Rows(3)
    objective = KCL([6, 3, 1], model, positives=99, queue_size=16, temperature=0.2, contrast_weight=0.5)
    past, given_batch = batch("rows", 3, torch.tensor([0, 0, 1, 2])), batch("rows", 3, torch.tensor([0, 1, 2, 0]), 1)
    objective(model(past.views[:2]), past)
    out = model(given_batch.views[:2])
    seen = objective.eval().look(out, given_batch)
    expected = supervised_contrastive(seen.queries, seen.labels, seen.keys, seen.key_labels, torch.full((4,), -1), 0.2)
    torch.testing.assert_close(objective(out, given_batch)["con"], 0.5 * expected.mean())


def test_bad_options_are_refused() -> None:
    with pytest.raises(TailwiseError, match="KCL: positives must be at least 1, got 0"):
        KCL([6, 3, 1], Rows(3), positives=0)
