"""The terms of a run: their sum, their means, when they are read, and the first that is not finite."""

from collections.abc import Callable

import pytest
import torch

from tailwise.train.terms import Terms
from tailwise.types import TailwiseError


def step(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}


@pytest.mark.parametrize("every", [1, 2, 100])
def test_the_means_are_those_of_all_steps_however_seldom_they_are_read(every: int) -> None:
    terms = Terms(every)
    for a, b in ((1.0, 2.0), (3.0, 4.0), (5.0, -3.0)):
        terms.add(step(a=a, b=b), "here")
    assert terms.last() == {"loss_step": 2.0, "a_step": 5.0, "b_step": -3.0}
    assert terms.means() == {"loss_epoch": pytest.approx(4.0), "a_epoch": pytest.approx(3.0), "b_epoch": pytest.approx(1.0)}
    terms.add(step(a=7.0), "here")
    assert terms.means() == {"loss_epoch": 7.0, "a_epoch": 7.0}  # a new epoch
    assert terms.means() == {}


def test_a_term_that_comes_and_goes_is_averaged_over_the_steps_that_had_it() -> None:
    terms = Terms(every=3)
    for values in ({"a": 1.0}, {"a": 3.0, "b": 10.0}, {"b": 20.0}):
        terms.add(step(**values), "here")
    assert terms.means() == {"loss_epoch": pytest.approx(34 / 3), "a_epoch": 2.0, "b_epoch": 15.0}


def test_the_loss_is_the_sum_in_the_graph() -> None:
    values = step(a=1.0, b=2.0)
    loss = Terms().add(values, "here")
    loss.backward()
    assert float(loss.detach()) == 3.0
    assert [value.grad for value in values.values()] == [torch.tensor(1.0)] * 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_that_is_not_finite_is_named_with_its_step_when_it_is_read(bad: float) -> None:
    terms = Terms(every=4)
    terms.add(step(a=1.0, b=1.0), "step 0")
    terms.add(step(a=1.0, b=bad), "step 1")
    terms.add(step(a=bad, b=bad), "step 2")  # what followed from it
    with pytest.raises(TailwiseError, match=r"term 'b' is not finite at step 1; start another run with a lower --optim\.lr"):
        terms.add(step(a=bad, b=bad), "step 3")


@pytest.mark.parametrize("look", [Terms.last, Terms.means])
def test_what_is_asked_for_is_never_taken_from_a_step_that_went_wrong(look: Callable[[Terms], dict[str, float]]) -> None:
    terms = Terms(every=10)
    terms.add(step(a=float("nan")), "step 0")
    with pytest.raises(TailwiseError, match="at step 0"):
        look(terms)


def test_every_step_is_read_at_once_where_nothing_has_to_wait() -> None:
    with pytest.raises(TailwiseError, match="at step 0"):
        Terms().add(step(a=float("nan")), "step 0")
