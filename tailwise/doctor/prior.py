"""Prior applied twice."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tailwise.counts import Counts, as_counts, log_prior, thirds
from tailwise.doctor.check import Check, Severity
from tailwise.doctor.signals import Signals

NAME = "prior applied twice"
TWICE = -0.5
"""Share of the log prior that logits carry below which a prior was taken away twice: 1 is never, 0 is once, −1 is twice."""
OFTEN, SELDOM = 1.5, 0.75
"""How often rare and frequent classes are predicted, over how often they occur, where too much was taken away."""
WHAT = "Class frequencies are corrected for more than once, so the model prefers rare classes as it once did frequent ones."
ADVICE = (
    "Use one correction: an objective that has the prior (LogitAdjusted, BCL, GML) with sampler Shuffled, or CrossEntropy with "
    "sampler ClassBalanced or post_hoc LogitAdjustment."
)


def carried_share(carried: Sequence[float] | Tensor, counts: Counts) -> float | None:
    """How much of log π the log prior ``carried`` (C,) is: the slope of the one against the other over the classes that occur.

    1 for plain cross-entropy, 0 once the prior is corrected for, −1 where it is corrected for twice. None where all classes
    are equally frequent.
    """
    counts = as_counts(counts)
    values = torch.stack([log_prior(counts).double(), torch.as_tensor(carried).double()])[:, counts > 0]
    x, y = values - values.mean(1, keepdim=True)
    spread = float(x.square().sum())
    return float((x * y).sum()) / spread if spread > 1e-9 else None


def prior_applied_twice(signals: Signals) -> Check | None:
    """Rare classes are predicted `OFTEN` times as often as they occur and frequent ones less than `SELDOM`: a warning.

    That is of the model's own answers to the test split, by thirds of the classes. If the logits only state that they carry
    less than `TWICE` of the log prior (`carried_share`) and the answers do not show it, it is a note. None before the judge.
    """
    carried, shares = signals.result.get("carried_prior"), _predicted(signals.result.get("per_class") or ())
    if carried is None and shares is None:
        return None
    parts: list[str] = []
    severity: Severity = "none"
    if carried is not None:
        parts.append(f"the logits carry {carried:.2f} of the log prior (1 never, 0 once, −1 twice; too little below {TWICE:g})")
        severity = "note" if carried < TWICE else "none"
    if shares is not None:
        head, tail = shares
        parts.append(
            f"the rarest third of the classes is predicted {tail:.2f} times as often as it occurs (too often from {OFTEN:g}), "
            f"the most frequent {head:.2f} times (too seldom below {SELDOM:g})"
        )
        severity = "warning" if tail >= OFTEN and head < SELDOM else severity
    return Check(NAME, severity, "; ".join(parts), WHAT, ADVICE)


def _predicted(classes: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Predictions over occurrences on the test split, of the head and of the tail third."""
    if len(classes) < 3 or any("predicted" not in row for row in classes):
        return None
    of = thirds([row["train"] for row in classes])
    own = [[row for row, inside in zip(classes, of[third].tolist(), strict=True) if inside] for third in ("head", "tail")]
    if not all(sum(row["test"] for row in rows) for rows in own):
        return None
    head, tail = (sum(row["predicted"] for row in rows) / sum(row["test"] for row in rows) for rows in own)
    return head, tail
