"""Every detector on figures by hand, on both sides of its thresholds."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from tailwise.doctor import DETECTORS, Check, examine, signals
from tailwise.doctor.prior import carried_share
from tailwise.train.optim import Cosine

Figures = dict[str, Any]


def log(**series: list[float]) -> list[dict[str, float]]:
    """Rows of epochs from lists of a figure for each of them."""
    epochs = len(next(iter(series.values())))
    return [{"step": 7 * e, "epoch": e, **{name: of[e] for name, of in series.items()}} for e in range(epochs)]


def verdict(
    name: str, rows: list[dict[str, float]], epochs: float = 0, result: Mapping[str, Any] | None = None
) -> Check | None:
    return DETECTORS[name](signals(rows, epochs, result))


def severity(name: str, rows: list[dict[str, float]], epochs: float = 0, result: Mapping[str, Any] | None = None) -> str:
    check = verdict(name, rows, epochs, result)
    assert check is not None
    assert check.name == name
    return check.severity


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"many": 0.9, "medium": 0.4, "few": 0.04}, "warning"),
        ({"many": 0.9, "medium": 0.4, "few": 0.06}, "none"),
        ({"many": 0.4, "medium": 0.2, "few": 0.0}, "none"),  # nothing is learnt: another failure
        ({"many": None, "medium": 0.8, "few": 0.0}, "warning"),
        ({"many": 0.9, "medium": None, "few": None, "thirds": {"head": 0.9, "middle": 0.5, "tail": 0.0}}, "warning"),
        ({"head": 0.7, "medium": 0.3, "tail": 0.01}, "warning"),  # average precision
        ({"groups": {"head": {"miou": 0.9}, "medium": {"miou": None}, "tail": {"miou": 0.01}}}, "warning"),
        ({"groups": {"head": {"miou": 0.9}, "medium": {"miou": None}, "tail": {"miou": 0.2}}}, "none"),
    ],
)
def test_tail_collapse_of_a_finished_run(result: Figures, expected: str) -> None:
    assert severity("tail collapse", [], result=result) == expected


def test_tail_collapse_while_training_waits_for_half_of_the_run_and_two_looks() -> None:
    head, gone = [0.3, 0.6, 0.8, 0.9], [0.0, 0.0, 0.0, 0.0]
    for done, expected in ((2, "none"), (3, "warning"), (4, "warning")):
        assert severity("tail collapse", log(val_many=head, val_few=gone)[:done], 4) == expected
    late = [0.0, 0.0, 0.0, 0.2]
    assert severity("tail collapse", log(val_many=head, val_few=late), 4) == "none"
    assert severity("tail collapse", log(test_many=head[::-1], test_few=gone), 4) == "none"  # the head is lost as well
    assert verdict("tail collapse", log(val_many=head), 4) is None
    assert verdict("tail collapse", log(loss_epoch=head), 4) is None
    apart = [{"epoch": 0, "val_many": 0.9}, {"epoch": 1, "val_few": 0.0}]  # never looked at together
    assert verdict("tail collapse", apart, 2) is None


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        ({"all": 0.4, "many": 0.31, "medium": 0.4, "few": 0.5}, "warning"),
        ({"all": 0.4, "many": 0.29, "medium": 0.5, "few": 0.9}, "none"),  # the tail alone is what few images lead to
        ({"all": 0.4, "many": None, "medium": 0.35, "few": 0.5}, "warning"),
        ({"all": 0.4, "many": None, "medium": None, "few": 0.2}, "none"),
        ({"miou": 0.35}, "warning"),
        ({"map": 0.2, "head": 0.1, "medium": 0.4, "tail": 0.9}, "none"),
    ],
)
def test_head_overfitting(gap: Figures, expected: str) -> None:
    assert severity("head overfitting", [], result={"gap": gap}) == expected


def test_head_overfitting_is_not_measured_without_a_gap() -> None:
    assert verdict("head overfitting", [], result={"gap": None}) is None
    assert verdict("head overfitting", log(loss_epoch=[1.0]), 1) is None


def test_a_queue_may_fill_until_half_of_the_run() -> None:
    def rows(filled: float, stale: float, epochs: int) -> list[dict[str, float]]:
        return log(vital_queue_filled=[filled] * epochs, vital_queue_stale=[stale] * epochs)

    assert verdict("dead queue", rows(0.1, 0.0, 4), 10) is None
    assert severity("dead queue", rows(0.1, 0.0, 5), 10) == "none"
    assert severity("dead queue", rows(0.1, 0.0, 6), 10) == "warning"
    assert severity("dead queue", rows(0.49, 0.0, 10), 10) == "warning"
    assert severity("dead queue", rows(0.51, 0.49, 10), 10) == "none"
    assert severity("dead queue", rows(1.0, 0.51, 5), 100) == "warning"
    both = [row | {"vital_keys_filled": 0.2, "vital_keys_stale": 0.0} for row in rows(1.0, 0.0, 10)]
    check = verdict("dead queue", both, 10)
    assert check
    assert check.found
    assert "keys: 20 % of the slots filled" in check.measured
    assert verdict("dead queue", log(loss_epoch=[1.0] * 9), 9) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.09, 0.08, 0.07], "none"),
        ([0.1, 0.05, 0.02, 0.011], "none"),
        ([0.1, 0.05, 0.02, 0.009], "warning"),
        ([0.1, 0.3, 0.9, 1.1], "warning"),
        ([0.05, 0.2, 0.4, 0.6], "warning"),  # twelve times, one way all along
        ([0.05, 0.8, 0.4, 0.6], "none"),
    ],
)
def test_temperature_runaway(values: list[float], expected: str) -> None:
    assert severity("temperature runaway", log(vital_temperature=values), 4) == expected


def test_a_temperature_settles_first_and_may_be_anywhere_in_the_objective() -> None:
    assert verdict("temperature runaway", log(vital_temperature=[9.0, 9.0]), 9) is None
    check = verdict("temperature runaway", log(vital_parts_0_temperature=[9.0] * 3), 9)
    assert check
    assert check.measured.startswith("parts_0: 9 after 9")


def classes(predicted: list[int], train: tuple[int, ...] = (100, 30, 10)) -> Figures:
    rows = [{"train": n, "test": 40, "predicted": p} for n, p in zip(train, predicted, strict=True)]
    return {"per_class": rows}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (classes([29, 31, 60]) | {"carried_prior": -0.6}, "warning"),
        (classes([31, 29, 60]) | {"carried_prior": -0.6}, "note"),  # the head is predicted often enough
        (classes([29, 32, 59]) | {"carried_prior": -0.6}, "note"),
        (classes([90, 20, 10]) | {"carried_prior": -0.6}, "note"),
        (classes([10, 20, 90]) | {"carried_prior": 0.0}, "none"),  # corrected for once: the tail has another cause
        ({"carried_prior": -0.6}, "note"),
        ({"carried_prior": -0.4}, "none"),
        (classes([40, 40, 40]) | {"carried_prior": -1.0}, "note"),
        (classes([20, 30, 70]) | {"carried_prior": -1.0}, "warning"),
    ],
)
def test_prior_applied_twice(result: Figures, expected: str) -> None:
    assert severity("prior applied twice", [], result=result) == expected


def test_what_does_not_tell_of_the_prior() -> None:
    assert verdict("prior applied twice", [], result=classes([10, 20, 90]) | {"carried_prior": None}) is None
    assert verdict("prior applied twice", [], result=classes([10, 20, 90])) is None
    for row in ({"train": 3, "test": 4, "ap": 0.5}, {"train": 3, "test": 0, "predicted": 0}):
        check = verdict("prior applied twice", [], result={"per_class": [row] * 3, "carried_prior": -1.0})
        assert check
        assert (check.severity, "predicted" in check.measured) == ("note", False)


def test_the_carried_share_is_a_slope_against_the_log_prior() -> None:
    counts = [100, 10, 1, 0]
    logs = [2.0, 1.0, 0.0, 50.0]  # in tens, and whatever for a class that does not occur
    for share in (1.0, 0.0, -1.0):
        assert carried_share([share * 2.302585 * x + 3 for x in logs], counts) == pytest.approx(share, abs=1e-5)
    assert carried_share([1.0, 2.0], [5, 5]) is None


def test_leaking_split() -> None:
    for alike, torn, expected in ((4, 0, "none"), (5, 0, "warning"), (0, 1, "warning")):
        leak = {"test": 400, "alike": alike, "equal": 1, "only_equal": False, "torn": torn}
        assert severity("leaking split", [], result={"leak": leak}) == expected
    assert verdict("leaking split", [], result={"leak": None}) is None
    assert verdict("leaking split", [], result={}) is None


def test_slow_convergence_of_a_loss_that_still_falls() -> None:
    even = [0.1] * 10
    straight = [10 - 0.8 * e for e in range(10)]
    late = [10.0 - e for e in range(10)]
    quick = [10 * 0.4**e for e in range(10)]
    assert severity("slow convergence", log(loss_epoch=straight, vital_lr=even), 10) == "warning"
    assert severity("slow convergence", log(loss_epoch=quick, vital_lr=even), 10) == "none"
    assert severity("slow convergence", log(loss_epoch=straight, vital_lr=even), 20) == "none"  # it goes on
    assert severity("slow convergence", log(loss_epoch=[*quick[:5], *straight[5:]], vital_lr=even), 10) == "none"  # DRW
    assert severity("slow convergence", log(loss_epoch=late, vital_lr=even), 10) == "none"  # late, and fallen all the same
    # a rate that ends near zero stops any loss; counted by what was spent of it, it had not settled
    rates, spent, stopped = [0.1 * 0.5**e for e in range(10)], 0.0, []
    for rate in rates:
        spent += rate
        stopped.append(10 - 20 * spent)
    assert stopped[5] - stopped[9] < 0.1
    assert severity("slow convergence", log(loss_epoch=stopped, vital_lr=rates), 10) == "warning"


def cosine(epochs: int, warmup: float, exponent: float, left: float = 0.5, steps: int = 20) -> list[dict[str, float]]:
    """The log of a loss that is ``left`` but for what falls exponentially with the sum of the rates, under a cosine."""
    rates = [Cosine(warmup)(step / steps, epochs) for step in range(epochs * steps + 1)]
    spent = [sum(rates[:step]) / sum(rates) for step in range(epochs * steps)]
    losses = [left + (1 - left) * math.exp(-exponent * share) for share in spent]
    means = [sum(losses[steps * e : steps * (e + 1)]) / steps for e in range(epochs)]
    return log(loss_epoch=means, vital_lr=rates[steps::steps])


@pytest.mark.parametrize("warmup", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("epochs", [5, 6, 8, 10, 12, 15, 20, 30])
def test_an_exponential_fall_under_a_cosine_is_slow_by_its_own_second_half(epochs: int, warmup: float) -> None:
    for exponent in (5.0, 2.5):  # 8 and 22 % of the fall in the second half
        assert severity("slow convergence", cosine(epochs, warmup, exponent), epochs) == "none"
    late = severity("slow convergence", cosine(epochs, warmup, 1.0), epochs)  # 38 %
    assert late == ("warning" if epochs >= 10 else "none")  # shorter ones do not tell


def test_the_loss_at_half_of_the_rates_is_read_between_epochs() -> None:
    for epochs in (10, 11):
        straight = [10 - 7 * e / (epochs - 1) for e in range(epochs)]
        check = verdict("slow convergence", log(loss_epoch=straight, vital_lr=[0.1] * epochs), epochs)
        assert check
        assert "50 % of that in the second half" in check.measured


def test_slow_convergence_of_a_flat_loss_is_said_after_half_of_the_run() -> None:
    for fall, done, expected in ((0.09, 5, "none"), (0.09, 6, "warning"), (0.11, 6, "none")):
        rows = log(loss_epoch=[1.0, *[1 - fall] * 9], vital_lr=[0.1] * 10)[:done]
        assert severity("slow convergence", rows, 10) == expected
    assert verdict("slow convergence", log(loss_epoch=[1.0] * 4, vital_lr=[0.1] * 4), 4) is None
    assert verdict("slow convergence", log(loss_epoch=[1.0] * 9), 9) is None  # a log of before the doctor


def test_nothing_known_is_nothing_said_and_a_check_says_all() -> None:
    assert examine(signals([])) == []
    known = {"many": 0.9, "medium": 0.5, "few": 0.0, "gap": {"many": 0.5, "medium": 0.1, "few": 0.6}, "carried_prior": 0.0}
    checks = examine(signals([], result=known))
    assert [check.name for check in checks] == ["tail collapse", "head overfitting", "prior applied twice"]
    assert all(check.measured and check.what and check.advice for check in checks)
    assert len(DETECTORS) == 7
