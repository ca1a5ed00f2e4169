"""The ablations of GML: each changes the one part that it names."""

import torch
from losses.cases import F64, on_sphere
from tiny import Rows, batch
from torch import Tensor

from tailwise.counts import count_labels, log_prior
from tailwise.losses import GML, GMLLeaveOneOut, GMLSharedQueue, LogitAdjusted, cross_entropy
from tailwise.losses.mixture import left_out, mixture_sums
from tailwise.types import Batch

LABELS = torch.tensor([0, 1, 0, 2, 0])


def made(cls: type[GML], **options: float) -> tuple[GML, dict[str, Tensor], Batch]:
    torch.manual_seed(0)
    model = Rows(3)
    objective = cls([6, 3, 1], model, queue_size=32, **options)
    given = batch("rows", 3, LABELS)
    return objective, objective(model(given.views[:2]), given), given


def test_leaving_own_keys_out_is_the_posterior_over_fewer_keys() -> None:
    keys, key_labels, key_index = on_sphere(1, 6, 3), torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 2, 3, 4, 5])
    queries, prior, temperature = on_sphere(2, 3, 3), log_prior(torch.tensor([6, 3, 1])), torch.tensor(0.3, dtype=F64)
    labels, index = torch.tensor([0, 1, 2]), torch.tensor([1, 4, 5])
    filled = count_labels(key_labels, 3)
    lse = mixture_sums(queries, labels, index, keys, key_labels, key_index, prior, filled, temperature)
    fewer = left_out(lse, labels, filled)
    for i, own in enumerate(index.tolist()):
        rest = key_index != own
        filled = count_labels(key_labels[rest], 3)
        score = (queries[i] @ keys[rest].T / temperature).exp()
        mean = torch.zeros(3, dtype=F64).index_add(0, key_labels[rest], score) / filled
        scores = mean.log() + prior
        expected = scores[filled > 0].logsumexp(0) - scores[i] if filled[i] else torch.zeros((), dtype=F64)
        torch.testing.assert_close(fewer[i], expected)


def test_a_lone_sample_has_no_likelihood_without_its_own_key() -> None:
    kept, left = made(GML)[1], made(GMLLeaveOneOut)[1]
    assert not torch.allclose(left["con"], kept["con"])
    torch.testing.assert_close(left["temp"], kept["temp"])
    torch.testing.assert_close(left["con"], left["temp"])  # equal in value; one trains the features, one the temperature


def test_the_shared_queue_is_one_ring() -> None:
    objective, _, given = made(GMLSharedQueue)
    held = objective.queue.read()
    assert sorted(held.index.tolist()) == given.index.tolist()
    small = GMLSharedQueue([6, 3, 1], Rows(3), queue_size=4)
    small.queue.push(torch.zeros(5, small.teacher.dim), LABELS, torch.arange(5))
    assert sorted(small.queue.read().index.tolist()) == [1, 2, 3, 4]  # a quota per class would have kept others


def test_without_a_prior_both_posteriors_are_uniform_and_the_logits_carry_it() -> None:
    objective, terms, given = made(GML, tau=0.0)
    out = Rows(3)
    torch.manual_seed(0)
    out = Rows(3)(given.views[:2])
    torch.testing.assert_close(terms["cls"], cross_entropy(out.logits[0], LABELS).mean())
    torch.testing.assert_close(objective.carried_log_prior, objective.log_prior)
    assert not torch.allclose(terms["con"], made(GML)[1]["con"])
    assert torch.equal(GML([6, 3, 1], Rows(3)).carried_log_prior, LogitAdjusted([6, 3, 1], Rows(3)).carried_log_prior)


def test_a_fixed_temperature_gets_a_zero_gradient() -> None:
    objective, terms, _ = made(GML, temperature_weight=0.0)
    torch.stack(list(terms.values())).sum().backward()
    assert objective.log_temperature.grad is not None
    assert float(objective.log_temperature.grad) == 0.0
    learned, terms, _ = made(GML)
    torch.stack(list(terms.values())).sum().backward()
    assert learned.log_temperature.grad is not None
    assert float(learned.log_temperature.grad) != 0.0
