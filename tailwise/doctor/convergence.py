"""Slow convergence."""

from tailwise.doctor.check import Check, percent
from tailwise.doctor.signals import Series, Signals

NAME = "slow convergence"
STILL = 0.3
"""Share of the whole fall of the loss that may come in the second half of what the learning rates add up to. A straight fall
has 0.5 there; an exponential one 0.3 when 18 % of its way is left. Sound runs on the digits have up to 0.22."""
REST = 0.25
"""Share of the loss of the first epoch below which it counts as fallen, however late that was."""
FLAT = 0.1
"""Share of its first epoch's mean by which the loss falls at least where anything is learnt."""
LATE = 0.5
"""Share of the epochs before which a loss may be flat."""
LEAST = 5
"""Epochs before which nothing is said."""
WHAT = "Training ended, or goes on, far from what this model could learn: its figures speak of the schedule, not of the method."
ADVICE = "Raise optim.lr (by a factor of 3 to 10), or epochs; a flat loss may also come from frozen weights (model.freeze)."


def slow_convergence(signals: Signals) -> Check | None:
    """The loss was still falling at the end, or it has been flat all along.

    Falling: measured by the sum of the learning rates so far, which a schedule that ends near zero does not hide, more than
    `STILL` of the fall came in the second half, and more than `REST` of the loss is left; this needs the whole run. Flat:
    after half of the epochs the lowest mean of an epoch is less than `FLAT` below that of the first. None in the first
    `LEAST` epochs.
    """
    loss, rates = signals.series.get("loss_epoch", {}), signals.series.get("vital_lr", {})
    if not loss or max(loss) < LEAST or not loss.keys() <= rates.keys():
        return None
    first, lowest = loss[min(loss)], min(loss.values())
    fallen = 1 - lowest / first if first > 0 else 1.0
    measured = f"the loss fell from {first:.3g} by {percent(fallen)} (flat below {percent(FLAT)})"
    slow = fallen < FLAT and max(loss) > LATE * signals.epochs
    if max(loss) >= signals.epochs and fallen >= FLAT:
        still = _second_half(loss, rates)
        measured += f", {percent(still)} of that in the second half of the learning rates' sum (slow above {percent(STILL)})"
        measured += f" and {percent(1 - fallen)} left (fallen below {percent(REST)})"
        slow = still > STILL and 1 - fallen > REST
    return Check(NAME, "warning" if slow else "none", measured, WHAT, ADVICE)


def _second_half(loss: Series, rates: Series) -> float:
    """Share of the fall of the lowest loss so far that came after half of the sum of the learning rates."""
    epochs, total = sorted(loss), sum(rates[epoch] for epoch in loss)
    lowest = [min(loss[e] for e in epochs[: i + 1]) for i in range(len(epochs))]
    spent, half = 0.0, lowest[0]
    for epoch, low in zip(epochs, lowest, strict=True):
        spent += rates[epoch]
        if spent > total / 2:
            break
        half = low
    return (half - lowest[-1]) / max(lowest[0] - lowest[-1], 1e-12)
