"""Instance discrimination against loops, and its place in GML: every image a class of its own."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, compare, on_sphere
from losses.slow import dot
from tiny import Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.losses.infonce import InfoNCE, infonce
from tailwise.losses.mixture import mixture_sums, posterior
from tailwise.types import IGNORE, TailwiseError

Problem = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Queries whose other views come first among the keys; several keys may be of one image, and some absent."""
    queries, past, seed = draw(st.integers(1, 5)), draw(st.integers(0, 6)), draw(st.integers(0, 2**20))
    images = draw(st.lists(st.integers(0, 4), min_size=queries + past, max_size=queries + past))
    present = draw(st.lists(st.booleans(), min_size=queries + past, max_size=queries + past))
    index = torch.tensor(images)
    return (
        on_sphere(seed, queries, 3), index[:queries], on_sphere(seed + 1, queries + past, 3), index, torch.tensor(present),
        torch.arange(queries), draw(st.sampled_from([0.07, 0.5])),
    )  # fmt: skip


@given(problems())
def test_equals_the_loop(problem: Problem) -> None:
    queries, index, keys, key_index, present, position, temperature = problem
    values = []
    for q, image, own in zip(queries, index.tolist(), position.tolist(), strict=True):
        positive = exp(dot(q, keys[own]) / temperature)
        others = [exp(dot(q, k) / temperature) for k, i, there in zip(keys, key_index.tolist(), present, strict=True)
                  if there and i != image]  # fmt: skip
        values.append(-log(positive / (positive + sum(others))) if present[own] else 0.0)
    compare(infonce(*problem), values)


def test_is_gml_with_every_image_its_own_class() -> None:
    queries, keys = on_sphere(1, 4, 3), on_sphere(2, 9, 3)
    image = torch.tensor([5, 0, 8, 3, 1, 2, 4, 6, 7])  # a key of each of nine images, four of them the queries' own
    prior, filled, place = torch.full((9,), 1 / 9, dtype=F64).log(), torch.ones(9).long(), torch.arange(9)
    lse = mixture_sums(queries, image[:4], place[:4], keys, image, place, prior, filled, torch.tensor(0.2, dtype=F64))
    gml = posterior(lse, image[:4], filled)
    ours = infonce(queries, image[:4], keys, image, torch.ones(9).bool(), place[:4], 0.2)
    torch.testing.assert_close(ours, gml, rtol=1e-12, atol=1e-12)


def test_gradient_reaches_own_and_other_images_only() -> None:
    queries, keys = on_sphere(1, 2, 3).requires_grad_(), on_sphere(2, 5, 3).requires_grad_()
    key_index, present = torch.tensor([0, 1, 0, 2, 3]), torch.tensor([True, True, True, True, False])

    def loss(queries: Tensor, keys: Tensor) -> Tensor:
        return infonce(queries, torch.tensor([0, 1]), keys, key_index, present, torch.arange(2), 0.3)

    gradcheck(loss, (queries, keys))
    loss(queries, keys)[0].backward()
    assert keys.grad is not None
    assert (keys.grad != 0).any(1).tolist() == [True, True, False, True, False]


def test_the_objective_compares_the_second_view_with_momentum_keys_of_the_third() -> None:
    torch.manual_seed(0)
    model = Rows(3)
    objective = InfoNCE([5, 3, 1], model, queue_size=16, momentum=0.5, contrast_weight=0.5)
    assert objective.temperature == 0.07
    labels = torch.tensor([0, 1, IGNORE, 0])
    first, second = batch("rows", 3, labels, 0), batch("rows", 3, labels, 1, first=2)  # images 2 and 3 come twice
    objective(model(first.views[:2]), first)
    with torch.no_grad():
        model.backbone.weight.mul_(3)
    objective.on_step(model)
    objective.eval()
    held, out = objective.queue.read(), model(second.views[:2])
    assert sorted(held.index.tolist()) == [0, 1, 3]
    fresh = objective.key_projector(objective.teacher(second.views[2:]).features[0])
    kept = torch.tensor([0, 1, 3])
    keys, image = torch.cat([fresh[kept], held.keys]), torch.cat([second.index[kept], held.index])
    expected = infonce(
        objective.projector(out.features[1, kept]), second.index[kept], keys, image, torch.ones(6).bool(), torch.arange(3), 0.07
    )
    torch.testing.assert_close(objective(out, second)["con"], 0.5 * expected.mean())


def test_labels_do_not_matter() -> None:
    values = []
    for labels in ([0, 1, 2, 0], [0, 0, 0, 0]):
        torch.manual_seed(0)
        model = Rows(3)
        objective, given_batch = InfoNCE([5, 3, 1], model), batch("rows", 3, torch.tensor(labels))
        values.append(objective(model(given_batch.views[:2]), given_batch)["con"])
    assert torch.equal(*values)


def test_bad_options_are_refused() -> None:
    with pytest.raises(TailwiseError, match="InfoNCE: temperature"):
        InfoNCE([5, 3, 1], Rows(3), temperature=-1.0)
    with pytest.raises(TailwiseError, match="InfoNCE: momentum"):
        InfoNCE([5, 3, 1], Rows(3), momentum=1.5)
