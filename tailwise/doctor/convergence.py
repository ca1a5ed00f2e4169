"""Slow convergence."""

import numpy as np

from tailwise.doctor.check import Check, percent
from tailwise.doctor.signals import Series, Signals

NAME = "slow convergence"
STILL = 0.3
"""Share of the whole fall of the loss that may come in the second half of what the learning rates add up to. A straight fall
has 0.5 there; an exponential one 0.3 when 18 % of its way is left. Sound runs on the digits have up to 0.2."""
REST = 0.25
"""Share of the loss of the first epoch below which it counts as fallen, however late that was."""
FLAT = 0.1
"""Share of its first epoch's mean by which the loss falls at least where anything is learnt."""
LATE = 0.5
"""Share of the epochs before which a loss may be flat."""
LEAST = 5
"""Epochs before which nothing is said."""
TOLD = 10
"""Epochs from which a run's means say how much of its fall came late. With 3 % of noise on an exponential fall that has 22 %
there, 5 or 6 epochs show more than `STILL` in a quarter of the runs (simulated), 10 in a tenth."""
WHAT = "Training ended, or goes on, far from what this model could learn: its figures speak of the schedule, not of the method."
ADVICE = "Raise optim.lr (by a factor of 3 to 10), or epochs; a flat loss may also come from frozen weights (model.freeze)."


def slow_convergence(signals: Signals) -> Check | None:
    """The loss was still falling at the end, or it has been flat all along.

    Falling: measured by the sum of the learning rates so far, which a schedule that ends near zero does not hide, more than
    `STILL` of the fall came in the second half, and more than `REST` of the loss is left; this needs the whole run. Flat:
    after half of the epochs the lowest mean of an epoch is less than `FLAT` below that of the first. None in the first
    `LEAST` epochs; a run of fewer than `TOLD` can only be flat.
    """
    loss, rates = signals.series.get("loss_epoch", {}), signals.series.get("vital_lr", {})
    if not loss or max(loss) < LEAST or not loss.keys() <= rates.keys():
        return None
    first, lowest = loss[min(loss)], min(loss.values())
    fallen = 1 - lowest / first if first > 0 else 1.0
    measured = f"the loss fell from {first:.3g} by {percent(fallen)} (flat below {percent(FLAT)})"
    slow = fallen < FLAT and max(loss) > LATE * signals.epochs
    if max(loss) >= max(signals.epochs, TOLD) and fallen >= FLAT:
        still = _second_half(loss, rates)
        measured += f", {percent(still)} of that in the second half of the learning rates' sum (slow above {percent(STILL)})"
        measured += f" and {percent(1 - fallen)} left (fallen below {percent(REST)})"
        slow = still > STILL and 1 - fallen > REST
    return Check(NAME, "warning" if slow else "none", measured, WHAT, ADVICE)


def _second_half(loss: Series, rates: Series) -> float:
    """Share of the fall of the lowest loss so far that came after half of the sum of the learning rates.

    An epoch spends the mean of the rates at its two ends, of which the log has the second; its mean loss stands in its
    middle. The half lies between the first and the last of these, and the loss there on the line between its neighbours.
    """
    epochs = sorted(loss)
    lowest = np.minimum.accumulate([loss[epoch] for epoch in epochs])
    ends = np.array([rates[epoch] for epoch in epochs])
    spent = (np.append(ends[:1], ends[:-1]) + ends) / 2
    at = spent.cumsum() - spent / 2
    half = np.interp((at[0] + at[-1]) / 2, at, lowest)
    return float((half - lowest[-1]) / max(lowest[0] - lowest[-1], 1e-12))
