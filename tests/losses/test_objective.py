"""What every objective shares: counts, priors, flattening of samples, and float32 under autocast."""

import pytest
import torch
from losses.cases import GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS
from tiny import Rows, batch

from tailwise.losses import CrossEntropy, Objective, cross_entropy
from tailwise.losses.objective import full_precision, pointwise
from tailwise.types import IGNORE, Output, TailwiseError


def test_counts_must_fit_the_model() -> None:
    with pytest.raises(TailwiseError, match="2 class counts for a model of 3 classes"):
        Objective([5, 3], Rows(3))


def test_counts_and_prior_are_buffers_and_the_model_is_not_kept() -> None:
    objective = Objective({1: 4, 0: 6}, Rows(2))
    assert set(objective.state_dict()) == {"counts", "log_prior"}
    assert objective.counts.tolist() == [6, 4]
    torch.testing.assert_close(objective.log_prior.exp(), torch.tensor([0.6, 0.4]))
    assert objective.carried_log_prior.tolist() == [0, 0]


def test_an_objective_must_say_its_terms() -> None:
    model, given_batch = Rows(2), batch("rows", 1, torch.tensor([0, 1]))
    with pytest.raises(NotImplementedError):
        Objective([1, 1], model)(model(given_batch.views), given_batch)


@pytest.mark.parametrize("shape", [(3,), (3, 2, 2)])
def test_pointwise_flattens_the_first_view(shape: tuple[int, ...]) -> None:
    labels = torch.randint(0, 4, shape)
    labels[0] = IGNORE
    logits = torch.randn(2, *shape, 4)
    given_batch = batch("rows", 1, torch.zeros(3))._replace(labels=labels)
    flat, targets, weights = pointwise(Output(logits, torch.zeros(2, 3, 6), torch.zeros(4, 6)), given_batch)
    assert torch.equal(flat, logits[0].reshape(-1, 4))
    assert torch.equal(targets[weights > 0], labels[labels != IGNORE])
    assert torch.equal(weights, (labels != IGNORE).float().flatten())
    assert bool((targets >= 0).all())


def test_pointwise_keeps_mixed_targets() -> None:
    logits, mixed = torch.randn(1, 3, 4), torch.rand(3, 4)
    given_batch = batch("rows", 1, mixed)
    _, targets, weights = pointwise(Output(logits, torch.zeros(1, 3, 6), torch.zeros(4, 6)), given_batch)
    assert torch.equal(targets, mixed)
    assert weights.tolist() == [1, 1, 1]


def test_losses_run_in_float32_under_autocast() -> None:
    logits = GOLDEN_LOGITS.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cross_entropy(logits.bfloat16(), GOLDEN_LOGIT_LABELS)
        product = full_precision(torch.mm)(logits.T.bfloat16(), logits.bfloat16())
    assert loss.dtype == product.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(logits.bfloat16().float(), GOLDEN_LOGIT_LABELS))
    rounded = logits.bfloat16().float()
    assert torch.equal(product, rounded.T @ rounded)


def test_wider_precision_is_kept() -> None:
    assert cross_entropy(GOLDEN_LOGITS, GOLDEN_LOGIT_LABELS).dtype == torch.float64


def test_hooks_do_nothing_unless_told() -> None:
    model = Rows(2)
    objective = CrossEntropy([1, 1], model)
    before = {k: v.clone() for k, v in objective.state_dict().items()}
    objective.on_epoch(0, 1)
    objective.on_step(model)
    torch.testing.assert_close(objective.state_dict(), before)
