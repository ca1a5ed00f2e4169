"""Metrics of long-tailed recognition: pure functions of tensors, each with its rule for classes that do not occur."""

from tailwise.metrics.calibration import Reliability, ece, ece_by_group, ranks, reliability, top_k_accuracy
from tailwise.metrics.shots import confusion, f1s, group_mean, precisions, recalls, summary, tally
from tailwise.metrics.worst_case import worst_case_accuracy

__all__ = [
    "Reliability",
    "confusion",
    "ece",
    "ece_by_group",
    "f1s",
    "group_mean",
    "precisions",
    "ranks",
    "recalls",
    "reliability",
    "summary",
    "tally",
    "top_k_accuracy",
    "worst_case_accuracy",
]
