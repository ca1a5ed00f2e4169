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
    """The logits carry less than `TWICE` of the log prior (`carried_share`): a note, and a warning where the answers show it.

    They do where the model predicts rare classes `OFTEN` times as often as they occur in the test split and frequent ones
    less than `SELDOM`, by thirds of the classes. That alone has other causes, such as a hard test split. None before the
    judge, and where all classes are equally frequent.
    """
    carried, shares = signals.result.get("carried_prior"), _predicted(signals.result.get("per_class") or ())
    if carried is None:
        return None
    measured = f"the logits carry {carried:.2f} of the log prior (1 never, 0 once, −1 twice; too little below {TWICE:g})"
    severity: Severity = "note" if carried < TWICE else "none"
    if shares is not None:
        head, tail = shares
        measured += (
            f"; the rarest third of the classes is predicted {tail:.2f} times as often as it occurs (too often from "
            f"{OFTEN:g}), the most frequent {head:.2f} times (too seldom below {SELDOM:g})"
        )
        severity = "warning" if severity == "note" and tail >= OFTEN and head < SELDOM else severity
    return Check(NAME, severity, measured, WHAT, ADVICE)


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
