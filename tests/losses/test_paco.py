"""What PaCo compares with what, and its options."""

import pytest
import torch
from tiny import DIM, Pixels, Rows, batch
from torch import Tensor

from tailwise.losses.paco import PaCo
from tailwise.losses.parametric import parametric_contrastive
from tailwise.losses.samples import Balanced
from tailwise.types import IGNORE, TailwiseError


def joint(objective: PaCo, logits: Tensor, queries: Tensor, labels: Tensor, keys: Tensor, key_labels: Tensor) -> Tensor:
    """The mean over labelled queries, which are the first of the keys."""
    values = parametric_contrastive(
        logits, queries, labels, torch.cat([queries, keys]), torch.cat([labels, key_labels]), torch.arange(len(labels)),
        objective.log_prior, objective.alpha, temperature=objective.temperature,
    )  # fmt: skip
    return values[labels != IGNORE].mean()


def test_queries_meet_one_another_the_momentum_keys_and_the_queue() -> None:
    model, labels = Rows(3), torch.tensor([0, IGNORE, 0, 1, 2])
    objective = PaCo([5, 3, 1], model, alpha=0.3, momentum=0.5).eval()
    objective.training = True  # the queue moves; statistics of batches do not enter
    first, second = batch("rows", 2, labels, seed=1), batch("rows", 2, labels.flip(0), seed=2)
    objective(model(first.views[:1]), first)
    with torch.no_grad():
        old = objective.key_projector(objective.teacher(first.views[1:]).features[0])
        model.backbone.weight.mul_(2)
        objective.on_step(model)
        new = objective.key_projector(objective.teacher(second.views[1:]).features[0])
        assert not torch.allclose(new, objective.projector(model(second.views[1:]).features[0]))
    keys, key_labels = torch.cat([new, old]), torch.cat([second.labels, first.labels])
    out = model(second.views[:1])
    expected = joint(objective, out.logits[0], objective.projector(out.features[0]), second.labels, keys, key_labels)
    found = objective(out, second)
    assert found.keys() == {"cls"}
    torch.testing.assert_close(found["cls"], expected)
    trained = [*model.parameters(), *objective.projector.parameters()]  # also through the queries that are keys of others
    gradients = (torch.autograd.grad(value, trained, retain_graph=True) for value in (found["cls"], expected))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)
        assert bool((mine != 0).any())
    assert objective.queue.read().filled.tolist() == [4, 2, 2]


def test_pixels_pair_each_query_with_the_logits_of_its_place() -> None:
    """Logits shifted where nothing is drawn change nothing; where something is, they do."""
    model = Pixels(3)
    objective = PaCo([5, 3, 1], model, pixels=Balanced(2)).eval()
    labels = torch.full((1, 8, 8), IGNORE)
    labels[0, 2, 3], labels[0, 7, 5] = 1, 2
    given_batch = batch("pixels", 2, labels)
    out = model(given_batch.views[:1])
    out.logits.retain_grad()
    objective(out, given_batch)["cls"].backward()
    assert out.logits.grad is not None
    assert (out.logits.grad[0, 0] != 0).any(-1).nonzero().tolist() == [[2, 3], [7, 5]]


def test_the_prior_that_is_carried() -> None:
    objective = PaCo([5, 3, 1], Rows(3))
    assert bool((objective.carried_log_prior == 0).all())
    cooled = PaCo([5, 3, 1], Rows(3), supt=2.0)
    torch.testing.assert_close(cooled.carried_log_prior, cooled.log_prior)
    rows = torch.log_softmax(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), 1)
    logits = 2 * rows + cooled.carried_log_prior  # whose trained softmax is the one of rows under the prior
    torch.testing.assert_close(((logits + cooled.log_prior) / 2).softmax(1), (rows + cooled.log_prior).softmax(1))


def test_defaults_are_those_of_the_cifar_recipe() -> None:
    model = Rows(3)
    model.dim = 64
    objective = PaCo([5, 3, 1], model)
    assert (objective.alpha, objective.beta, objective.gamma, objective.supt) == (0.01, 1.0, 1.0, 1.0)
    assert (objective.temperature, objective.width, len(objective.queue.rows)) == (0.05, 32, 1024)
    assert objective.teacher.momentum == 0.999
    assert PaCo([5, 3, 1], Rows(3)).width == DIM // 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"alpha": -0.1}, "PaCo: alpha must not be negative"),
        ({"beta": 0.0}, "PaCo: beta, gamma and supt must be positive"),
        ({"gamma": 0.0}, "PaCo: beta, gamma and supt must be positive"),
        ({"supt": -1.0}, "PaCo: beta, gamma and supt must be positive"),
        ({"temperature": 0.0}, "PaCo: temperature must be positive"),
        ({"momentum": 1.5}, r"PaCo: momentum must lie in \[0, 1\]"),
    ],
)
def test_impossible_options_are_refused(option: dict[str, float], message: str) -> None:
    with pytest.raises(TailwiseError, match=message):
        PaCo([5, 3, 1], Rows(3), **option)
