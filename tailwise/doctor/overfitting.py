"""Head overfitting."""

from tailwise.doctor.check import Check, percent
from tailwise.doctor.signals import Signals
from tailwise.doctor.tail import GROUPS

NAME = "head overfitting"
LARGE = 0.3
"""A gap that is worth a reader's time: CIFAR-10-LT trained well has 0.07 to 0.12 on its frequent classes."""
WHAT = "Even the frequent classes, which have images enough, are learnt by heart rather than understood."
ADVICE = (
    "Augment more (data.views), decay more (optim.weight_decay), train for fewer epochs, and look for wrong labels among the "
    "training images (tailwise data SOURCE)."
)


def head_overfitting(signals: Signals) -> Check | None:
    """Training less test figure of the most frequent group, both in eval mode without augmentation, is above `LARGE`.

    The gaps of the other groups stand beside it: a large one there alone is what few images lead to. None before the judge
    has measured them.
    """
    gap = signals.result.get("gap") or {}
    named = next((names for names in (*GROUPS, ("miou",)) if names[0] in gap), ())  # masks have one gap for all classes
    known = [(name, gap[name]) for name in named if gap[name] is not None]
    if not known:
        return None
    said = ", ".join(f"{name} {percent(value)}" for name, value in known)
    measured = f"training less test: {said} (large above {percent(LARGE)} for {known[0][0]})"
    return Check(NAME, "warning" if known[0][1] > LARGE else "none", measured, WHAT, ADVICE)
