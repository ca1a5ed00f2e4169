"""Targeted supervised contrast: the matching of classes and targets, and what it adds to KCL."""

import itertools
from typing import Any

import pytest
import torch
from losses.cases import on_sphere
from tiny import Rows, batch
from torch import Tensor

from tailwise.losses.kcl import KCL
from tailwise.losses.targets import simplex, spread
from tailwise.losses.tsc import TSC
from tailwise.types import IGNORE, Batch, TailwiseError

COUNTS = [6, 3, 2, 1]


def build(cls: type[KCL] = TSC, **options: Any) -> tuple[Rows, KCL]:
    torch.manual_seed(0)
    model = Rows(4)
    return model, cls(COUNTS, model, queue_size=16, temperature=0.2, **options)


def term(model: Rows, objective: KCL, given_batch: Batch) -> Tensor:
    return objective(model(given_batch.views[:2]), given_batch)["con"]


def test_targets_are_a_simplex_where_the_width_allows_it() -> None:
    torch.testing.assert_close(TSC([1] * 4, Rows(4), width=3).targets, simplex(4, 3).float())
    torch.testing.assert_close(TSC([1] * 5, Rows(5), width=3).targets, spread(5, 3).float())


def test_centroids_are_moving_averages_of_directions() -> None:
    model, objective = build()
    expected = torch.zeros(4, 3)
    for seed in range(3):
        given_batch = batch("rows", 3, torch.tensor([0, 0, 1, IGNORE, 1, 0]), seed)
        queries = objective.projector.eval()(model(given_batch.views[:2]).features[1]).detach()
        term(model, objective, given_batch)
        for c in (0, 1):
            mean = queries[given_batch.labels == c].mean(0)
            moved = 0.9 * expected[c] + 0.1 * mean / mean.norm()
            expected[c] = moved / moved.norm()
        torch.testing.assert_close(objective.centroids, expected)  # classes 2 and 3 were not seen
    before = objective.centroids.clone()
    objective.eval()
    term(model, objective, batch("rows", 3, torch.tensor([0, 1, 2, 3])))
    assert torch.equal(objective.centroids, before)


def test_the_matching_is_the_best_of_all() -> None:
    _, objective = build()
    for seed in range(5):
        objective.centroids.copy_(on_sphere(seed, 4, 3))
        given = objective.targets.clone()
        objective.on_epoch(seed + 1, 1)
        similarity = objective.centroids @ given.T
        best = max(itertools.permutations(range(4)), key=lambda order: sum(similarity[c, t] for c, t in enumerate(order)))
        assert torch.equal(objective.targets, given[list(best)])


@pytest.mark.parametrize(("warmup", "epochs", "first"), [(0.5, 8, 4), (0.5, 1, 1), (0.0, 8, 1), (0.3, 10, 3)])
def test_targets_join_after_the_warmup_but_not_in_the_first_epoch(warmup: float, epochs: int, first: int) -> None:
    _, objective = build(warmup=warmup)
    for epoch in range(first):
        objective.on_epoch(epoch, epochs)
        assert objective.matched == -1
    objective.on_epoch(first, epochs)
    assert objective.matched == first


def test_a_resume_within_an_epoch_does_not_match_again() -> None:
    _, objective = build()
    objective.centroids.copy_(on_sphere(0, 4, 3))
    objective.on_epoch(3, 4)
    state = {k: v.clone() for k, v in objective.state_dict().items()}
    _, again = build()
    again.load_state_dict(state)
    again.centroids.copy_(on_sphere(1, 4, 3))  # moved since
    again.on_epoch(3, 4)
    assert torch.equal(again.targets, state["targets"])
    again.on_epoch(4, 5)
    assert not torch.equal(again.targets, state["targets"])


GIVEN = batch("rows", 3, torch.tensor([0, 0, 1, IGNORE, 2]), 1)


def test_without_targets_it_is_kcl() -> None:
    values = [term(*build(cls), GIVEN) for cls in (TSC, KCL)]
    torch.testing.assert_close(*values)


def test_the_target_is_one_more_positive_of_weight_a_fifth() -> None:
    model, objective = build(positives=1)
    objective.centroids.copy_(on_sphere(0, 4, 3))
    objective.on_epoch(1, 1)
    objective.eval()
    seen = objective.look(model(GIVEN.views[:2]), GIVEN)
    positives, weights = objective.drawn(seen, GIVEN)
    everything = torch.cat([seen.keys[seen.key_labels >= 0], objective.targets])
    values = []
    for i in (0, 1, 2, 4):
        scores = seen.queries[i] @ everything.T / 0.2
        own = [p for p, w in zip(positives[i].tolist(), weights[i].tolist(), strict=True) if w]
        terms = [scores.logsumexp(0) - seen.queries[i] @ seen.keys[p] / 0.2 for p in own]
        target = scores.logsumexp(0) - seen.queries[i] @ objective.targets[seen.labels[i]] / 0.2
        values.append((sum(terms) + 0.2 * target) / (len(own) + 1))
    assert [len([w for w in row if w]) for row in weights[:3].tolist()] == [2, 2, 1]
    torch.testing.assert_close(term(model, objective, GIVEN), torch.stack(values).mean())


@pytest.mark.parametrize("labels", [[0], [IGNORE], [IGNORE] * 3, [3, 3, 3], [0, 1, 2, 3]])
def test_hostile_batches_with_targets(labels: list[int]) -> None:
    model, objective = build()
    objective.on_epoch(1, 1)  # of classes that were never seen: any target will do
    assert sorted(map(tuple, objective.targets.tolist())) == sorted(map(tuple, simplex(4, 3).float().tolist()))
    for seed in range(2):
        model.zero_grad()
        value = term(model, objective, batch("rows", 3, torch.tensor(labels), seed))
        (2.0**16 * value).backward()
        assert bool(value.isfinite())
        gradients = [p.grad for p in (*model.backbone.parameters(), *objective.projector.parameters())]
        assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
    assert bool(objective.centroids.isfinite().all())


@pytest.mark.parametrize("option", [{"target_weight": -0.1}, {"warmup": 1.5}, {"positives": 0}])
def test_bad_options_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(TailwiseError, match=f"TSC: {next(iter(option))}"):
        build(**option)
