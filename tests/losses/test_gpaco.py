"""GPaCo by hand on two steps, its smoothing, and what receives a gradient; the joint softmax is in test_paco."""

import pytest
import torch
from tiny import Rows, batch

from tailwise.losses.gpaco import GPaCo
from tailwise.losses.parametric import parametric_contrastive
from tailwise.types import IGNORE, Output, TailwiseError


def test_both_views_are_anchors_and_keys_beside_earlier_second_views() -> None:
    model = Rows(3)
    objective = GPaCo([5, 3, 1], model, alpha=0.3, smoothing=0.1, queue_size=5).eval()
    objective.training = True  # the queue moves; statistics of batches do not enter
    labels, seen = torch.tensor([0, 2, 1, IGNORE]), []
    for seed in (1, 2, 3):
        given = batch("rows", 2, labels, seed)
        out = model(given.views)
        rows = objective.projector(out.features.flatten(0, 1))
        logits, both = out.logits.flatten(0, 1), labels.repeat(2)
        past = torch.cat([rows[:0], *seen])[-5:]
        past_labels = labels[:3].repeat(len(seen))[-5:]
        values = parametric_contrastive(
            logits, rows, both, torch.cat([rows, past]), torch.cat([both, past_labels]), torch.arange(8),
            objective.log_prior, 0.3, temperature=0.2, smoothing=0.1,
        )  # fmt: skip
        found = objective(out, given)
        assert found.keys() == {"cls"}
        torch.testing.assert_close(found["cls"], values[both != IGNORE].mean())
        seen.append(rows[4:7].detach())


def test_smoothing_asks_for_the_other_classes_too() -> None:
    model, given = Rows(3), batch("rows", 2, torch.tensor([0, 1, 2, 2]))
    out = model(given.views)
    sharp = Output(20 * torch.eye(3)[given.labels].expand(2, 4, 3), out.features, out.classifier)
    plain, smooth = (GPaCo([1, 1, 1], model, alpha=0.0, smoothing=s).eval() for s in (0.0, 0.2))
    smooth.load_state_dict(plain.state_dict())
    # β = 1 and α = 0 leave the class scores alone: the own one gives up 0.2 of its 20 to classes at 0
    torch.testing.assert_close(smooth(sharp, given)["cls"] - plain(sharp, given)["cls"], torch.tensor(0.2 * 20))


def test_both_views_receive_gradients() -> None:
    model, given = Rows(3), batch("rows", 2, torch.tensor([0, 0, 1, 2]))
    out = model(given.views)
    out.features.retain_grad()
    out.logits.retain_grad()
    GPaCo([5, 3, 1], model)(out, given)["cls"].backward()
    for grad in (out.features.grad, out.logits.grad):
        assert grad is not None
        assert bool((grad != 0).any(-1).all())


def test_defaults_are_those_of_imagenet_lt() -> None:
    objective = GPaCo([5, 3, 1], Rows(3))
    assert (objective.alpha, objective.beta, objective.gamma, objective.supt) == (0.045, 1.0, 1.0, 1.0)
    assert (objective.temperature, objective.smoothing, len(objective.queue.rows)) == (0.2, 0.0, 8192)
    assert bool((objective.carried_log_prior == 0).all())


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_impossible_smoothing_is_refused(smoothing: float) -> None:
    with pytest.raises(TailwiseError, match=r"GPaCo: smoothing must lie in \[0, 1\)"):
        GPaCo([5, 3, 1], Rows(3), smoothing=smoothing)
