"""What every post-hoc step keeps, and that a recipe can name one."""

import copy
from typing import Literal, cast

import pytest
import torch
from jsonargparse import ArgumentParser
from posthoc.heads import COUNTS, KINDS, head, held_out, logits_of

from tailwise.counts import log_prior
from tailwise.posthoc import Drops, LogitAdjustment, PostHoc, TauNormalisation, Validation
from tailwise.posthoc.step import labelled
from tailwise.types import IGNORE, TailwiseError

STEPS = [LogitAdjustment(0.5), TauNormalisation(0.7), TauNormalisation(), Drops(0.2)]
Kind = Literal["linear", "cosine", "scaled"]


def cases() -> list[tuple[PostHoc, str]]:
    pairs = [(step, kind) for step in STEPS for kind in KINDS]
    return [(step, kind) for step, kind in pairs if not (isinstance(step, TauNormalisation) and kind == "cosine")]


@pytest.mark.parametrize(("step", "kind"), cases())
def test_a_step_edits_the_classifier_in_place_and_says_what_it_carries(step: PostHoc, kind: Kind) -> None:
    network = head(kind)
    names, parameters = set(network.state_dict()), list(network.parameters())
    rows, validation = held_out(network)
    options = copy.deepcopy(vars(step))
    before = logits_of(network, rows)
    carried, chosen = step(network, validation, COUNTS, log_prior(COUNTS))
    assert not torch.equal(logits_of(network, rows), before)
    assert carried.shape == (4,)
    assert carried.dtype == torch.float64
    assert bool(carried.isfinite().all())
    assert all(isinstance(value, float) for value in chosen.values())
    assert set(network.state_dict()) == names
    assert all(a is b and a.requires_grad for a, b in zip(network.parameters(), parameters, strict=True))
    assert vars(step) == options


@pytest.mark.parametrize(("step", "kind"), cases())
def test_a_class_that_training_lacked_is_never_predicted(step: PostHoc, kind: Kind) -> None:
    network = head(kind)
    rows, validation = held_out(network)
    counts = torch.tensor([500, 0, 20, 5])
    carried, _ = step(network, validation, counts, log_prior(counts))
    after = logits_of(network, 100 * rows)
    assert bool(after.isfinite().all() and carried.isfinite().all())
    assert 1 not in after.argmax(-1)
    assert float(after.softmax(-1)[:, 1].max()) == 0


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_a_recipe_can_name_a_step(step: PostHoc) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--posthoc", type=PostHoc | None, default=None)
    assert parser.parse_args([]).posthoc is None
    given = {"posthoc": {"class_path": type(step).__name__, "init_args": vars(step)}}
    built = parser.instantiate(parser.parse_object(given)).posthoc
    assert type(built) is type(step)
    assert vars(built) == vars(step)


def test_samples_without_a_label_are_left_out() -> None:
    logits = torch.randn(3, 2)
    kept = labelled(Validation(logits, torch.tensor([1, IGNORE, 0])), "none")
    assert kept.labels.tolist() == [1, 0]
    assert torch.equal(kept.logits, logits[[0, 2]].double())
    for nothing in (None, Validation(logits, torch.full((3,), IGNORE)), Validation(logits[:0], torch.zeros(0).long())):
        with pytest.raises(TailwiseError, match="hold some out"):
            labelled(nothing, "hold some out")


def test_the_protocol_itself_does_nothing() -> None:
    with pytest.raises(NotImplementedError):
        PostHoc()(head("linear"), None, COUNTS, cast(torch.Tensor, log_prior(COUNTS)))
