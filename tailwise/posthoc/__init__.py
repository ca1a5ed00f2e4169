"""Post-hoc steps: what is done to a trained classifier, once, before it is judged and shipped."""

from tailwise.posthoc.adjusted import LogitAdjustment, correction
from tailwise.posthoc.drops import Drops, class_losses, divergence, drops, worst_weights
from tailwise.posthoc.experts import aggregate
from tailwise.posthoc.normalised import TauNormalisation, choose_tau, tau_normalised
from tailwise.posthoc.step import Edited, PostHoc, Unchanged, Validation

__all__ = [
    "Drops",
    "Edited",
    "LogitAdjustment",
    "PostHoc",
    "TauNormalisation",
    "Unchanged",
    "Validation",
    "aggregate",
    "choose_tau",
    "class_losses",
    "correction",
    "divergence",
    "drops",
    "tau_normalised",
    "worst_weights",
]
