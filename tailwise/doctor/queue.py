"""Dead queue."""

from tailwise.doctor.check import Check, percent
from tailwise.doctor.signals import Signals

NAME = "dead queue"
EMPTY = 0.5
"""Share of the slots below which a queue is not filled."""
STALE = 0.5
"""Share of the filled slots above which a queue is stale, where those are stale that no step has written for
`tailwise.doctor.vitals.IDLE` epochs: the queues of our recipes turn over in three epochs, those of the papers in one."""
LATE = 0.5
"""Share of the epochs before which a queue may still be filling."""
LEAST = 5
"""Epochs before which nothing is said of a queue."""
WHAT = "The queue does little: slots that were never filled are absent, keys that are never replaced are of weights long gone."
ADVICE = "Make it smaller (objective.queue_size), near the number of training images; one of your own must be pushed each step."


def dead_queue(signals: Signals) -> Check | None:
    """After half of the run a queue has less than `EMPTY` of its slots filled, or more than `STALE` of those stale.

    None for a run without a queue, and in its first `LEAST` epochs.
    """
    filled, stale = signals.vitals("filled"), signals.vitals("stale")
    if not filled or signals.epoch < LEAST:
        return None
    late = signals.epoch > LATE * signals.epochs
    parts, dead = [], False
    for where, of in filled.items():
        share, old = of[max(of)], stale.get(where, {max(of): 0.0})
        idle = old[max(old)]
        dead |= idle > STALE or (late and share < EMPTY)
        parts.append(
            f"{where}: {percent(share)} of the slots filled (too few below {percent(EMPTY)}), {percent(idle)} of them stale "
            f"(too many above {percent(STALE)})"
        )
    return Check(NAME, "warning" if dead else "none", "; ".join(parts), WHAT, ADVICE)
