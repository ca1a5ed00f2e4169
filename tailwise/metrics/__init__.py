"""Metrics of long-tailed recognition: pure functions of tensors, each with its rule for classes that do not occur."""

from tailwise.metrics.calibration import Reliability, ece, ece_by_group, ranks, reliability, top_k_accuracy
from tailwise.metrics.gaussianity import gaussianity
from tailwise.metrics.geometry import angles, drift, spread
from tailwise.metrics.information import Information, instance_information, label_information
from tailwise.metrics.multilabel import average_precisions, multilabel_summary
from tailwise.metrics.neighbours import alignment, nearest_mean, uniformity
from tailwise.metrics.segmentation import (
    boundary_f_scores,
    boundary_tally,
    frequency_weighted_iou,
    ious,
    pixel_groups,
    segmentation_summary,
)
from tailwise.metrics.shots import f1s, group_mean, precisions, recalls, summary, tally
from tailwise.metrics.worst_case import worst_case_accuracy

__all__ = [
    "Information",
    "Reliability",
    "alignment",
    "angles",
    "average_precisions",
    "boundary_f_scores",
    "boundary_tally",
    "drift",
    "ece",
    "ece_by_group",
    "f1s",
    "frequency_weighted_iou",
    "gaussianity",
    "group_mean",
    "instance_information",
    "ious",
    "label_information",
    "multilabel_summary",
    "nearest_mean",
    "pixel_groups",
    "precisions",
    "ranks",
    "recalls",
    "reliability",
    "segmentation_summary",
    "spread",
    "summary",
    "tally",
    "top_k_accuracy",
    "uniformity",
    "worst_case_accuracy",
]
