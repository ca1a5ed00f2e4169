"""Leaking split."""

from tailwise.doctor.check import Check, percent
from tailwise.doctor.signals import Signals

NAME = "leaking split"
SHARE = 0.01
"""Share of the test images that may look like a training image: that of bad images which a source may have."""
WHAT = "Test images are also in the training set, so the test figures are better than the model."
ADVICE = (
    "`tailwise data SOURCE` lists the pairs. Take them out of one side, or state what belongs together (a column group, site "
    "or sequence of a .csv, or folders below the class folders; data.groups keep)."
)


def leaking_split(signals: Signals) -> Check | None:
    """More than `SHARE` of the test images look like a training image, or any group of images lies on both sides.

    Looks are compared as `tailwise data` does. None before the judge, which compares them.
    """
    leak = signals.result.get("leak")
    if leak is None:
        return None
    share = leak["alike"] / leak["test"]
    kind = "equal in the pixels the model sees" if leak["only_equal"] else f"near duplicates, {leak['equal']:,} of them equal"
    measured = (
        f"{leak['alike']:,} of {leak['test']:,} test images ({percent(share)}, too many above {percent(SHARE)}) look like a "
        f"training image ({kind})"
    )
    torn = leak.get("torn", 0)
    measured += f"; {torn:,} groups of images on both sides" if torn else ""
    return Check(NAME, "warning" if share > SHARE or torn else "none", measured, WHAT, ADVICE)
