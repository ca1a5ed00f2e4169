"""What a detector says."""

from typing import Literal, NamedTuple

Severity = Literal["none", "note", "warning"]
"""``none``: measured, and not there."""


class Check(NamedTuple):
    """One failure that was looked for: what was measured, and whether it is there."""

    name: str
    severity: Severity
    measured: str  # the figures with their thresholds, in words
    what: str  # what the failure is
    advice: str  # what to do about it, and the key to change

    @property
    def found(self) -> bool:
        """Whether it is there."""
        return self.severity != "none"


def percent(share: float) -> str:
    """A share in %, with one digit below 10."""
    return f"{100 * share:.1f} %" if abs(share) < 0.0995 else f"{100 * share:.0f} %"
