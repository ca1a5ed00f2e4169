"""Temperature runaway."""

from itertools import pairwise

from tailwise.doctor.check import Check
from tailwise.doctor.signals import Signals

NAME = "temperature runaway"
LOW, HIGH = 0.01, 1.0
"""Temperatures between which a softmax over cosines says something: at 0.01 the nearest key decides, at 1 the nearest and the
farthest differ by e² in all."""
FACTOR = 10.0
"""How far a temperature may move from where its first epoch left it, up or down, while it moves one way all along."""
WAYS = 0.9
"""Share of the epochs that go one way in what moves one way all along."""
LEAST = 3
"""Epochs before which nothing is said."""
WHAT = "A learned temperature runs away: its contrast no longer tells near from far."
ADVICE = (
    "Lower optim.lr, which the temperature shares; start nearer to where it goes (objective.temperature), or keep it fixed "
    "(objective.temperature_weight 0)."
)


def temperature_runaway(signals: Signals) -> Check | None:
    """A learned temperature is outside [`LOW`, `HIGH`], or has moved one way by more than `FACTOR`.

    None for a run without one, and in its first `LEAST` epochs.
    """
    found = signals.vitals("temperature")
    if not found or signals.epoch < LEAST:
        return None
    parts, runaway = [], False
    for where, of in found.items():
        values = [of[epoch] for epoch in sorted(of)]
        last, moved = values[-1], max(values[-1], 1e-30) / max(values[0], 1e-30)
        steps = list(pairwise(values))
        one_way = max(sum(b < a for a, b in steps), sum(b > a for a, b in steps)) >= WAYS * max(len(steps), 1)
        far = one_way and not 1 / FACTOR <= moved <= FACTOR
        runaway |= far or not LOW <= last <= HIGH
        parts.append(
            f"{where + ': ' if where else ''}{last:.3g} after {values[0]:.3g} in the first epoch (sound from {LOW:g} to "
            f"{HIGH:g} and, where it moves one way, within a factor of {FACTOR:g})"
        )
    return Check(NAME, "warning" if runaway else "none", "; ".join(parts), WHAT, ADVICE)
