"""Tail collapse."""

from tailwise.doctor.check import Check, percent
from tailwise.doctor.signals import Signals

NAME = "tail collapse"
LOST = 0.05
"""Recall of the rarest group below which it counts as lost: half of what guessing gives on ten classes."""
LEARNT = 0.5
"""Recall of the most frequent group from which it counts as learnt: else nothing is, which is another failure."""
LATE = 0.5
"""Share of the epochs before which rare classes may still come: they are learnt last."""
GROUPS = (("many", "medium", "few"), ("head", "medium", "tail"))
"""What result blocks call their groups, from frequent to rare."""
WHAT = "The rare classes are hardly ever predicted, while the frequent ones are learnt."
ADVICE = (
    "Train with an objective that takes the class frequencies into account (objective LogitAdjusted, BCL or GML), or correct "
    "afterwards (post_hoc LogitAdjustment); a class of a handful of images also needs more images or pretrained weights "
    "(model.weights)."
)


def tail_collapse(signals: Signals) -> Check | None:
    """Recall (IoU, average precision) of the rarest group is below `LOST` while that of the most frequent is above `LEARNT`.

    While training it is looked for from the middle of the run on, at looks between epochs whose two last agree and where
    the head has not fallen since the first. None where there are no two groups.
    """
    shares = _judged(signals)
    if shares is None:
        return _looked(signals)
    (common, head), (rare, tail) = shares
    lost = tail < LOST and head > LEARNT
    return _check(lost, f"{rare} {percent(tail)} (lost below {percent(LOST)}), {common} {percent(head)}, on the test split")


def _judged(signals: Signals) -> tuple[tuple[str, float], tuple[str, float]] | None:
    """Most frequent and rarest group of the result, else its head and tail thirds."""
    result = signals.result
    for names in GROUPS:
        of = result.get("groups") or result
        plain = {name: value.get("miou") if isinstance(value := of.get(name), dict) else value for name in names}
        known = [(name, float(value)) for name, value in plain.items() if value is not None]
        if len(known) > 1:
            return known[0], known[-1]
    thirds = result.get("thirds") or {}
    if thirds.get("head") is None or thirds.get("tail") is None:
        return None
    return ("head third", thirds["head"]), ("tail third", thirds["tail"])


def _looked(signals: Signals) -> Check | None:
    """The same of the looks between epochs."""
    known = [(name, looks) for name in GROUPS[0] if (looks := signals.looks(name))]
    if signals.result or len(known) < 2:
        return None
    (common, head), (rare, tail) = known[0], known[-1]
    epochs = sorted(head.keys() & tail.keys())
    if not epochs:
        return None
    late = len(epochs) > 1 and epochs[-1] > LATE * signals.epochs
    last, first = epochs[-1], epochs[0]
    lost = late and max(tail[e] for e in epochs[-2:]) < LOST and head[last] > max(LEARNT, head[first] - LOST)
    figures = f"{rare} {percent(tail[last])} (lost below {percent(LOST)}), {common} {percent(head[last])}"
    return _check(lost, f"{figures} after {percent(head[first])} in epoch {first}")


def _check(lost: bool, measured: str) -> Check:
    return Check(NAME, "warning" if lost else "none", measured, WHAT, ADVICE)
