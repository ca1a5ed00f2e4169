"""The doctor: known failures of long-tailed training, looked for in what a run measures.

A detector is a function of `Signals`, with its thresholds beside it. The trainer asks after each epoch, the judge at the
end, ``tailwise doctor`` at any time, and all get the same answers from the same figures.
"""

from collections.abc import Callable, Mapping

from tailwise.doctor import convergence, leak, overfitting, prior, queue, tail, temperature
from tailwise.doctor.check import Check
from tailwise.doctor.signals import Signals, signals

Detector = Callable[[Signals], Check | None]
"""What it says, None where it has nothing to measure."""

DETECTORS: Mapping[str, Detector] = {
    tail.NAME: tail.tail_collapse,
    overfitting.NAME: overfitting.head_overfitting,
    queue.NAME: queue.dead_queue,
    temperature.NAME: temperature.temperature_runaway,
    prior.NAME: prior.prior_applied_twice,
    leak.NAME: leak.leaking_split,
    convergence.NAME: convergence.slow_convergence,
}
"""All of them by the name of what they find, in the order of a page."""


def examine(known: Signals) -> list[Check]:
    """What every detector says that has something to measure."""
    return [check for detector in DETECTORS.values() if (check := detector(known)) is not None]


__all__ = ["DETECTORS", "Check", "Detector", "Signals", "examine", "signals"]
