"""Metrics alone: arrays, series and lists for tensors, counts in every form, and one line for anything else."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tailwise import metrics
from tailwise.types import IGNORE, TailwiseError

LABELS, PREDICTIONS, COUNTS = [0, 1, 2, 2, IGNORE], [0, 1, 1, 2, 2], [300, 40, 2]
SCORES, TARGETS = [[0.9, 0.1, 0.3], [0.2, 0.8, 0.4], [0.5, 0.6, 0.7]], [[1, 0, 0], [0, 1, 1], [1, 0, 1]]
TALLY = metrics.tally(torch.tensor(PREDICTIONS), torch.tensor(LABELS), 3)
CONFIDENCE = [0.5, 0.75, 1.0, 0.25, 0.5]
MAP, GUESS = [[0, 0, 1], [0, 2, 1], [2, 2, 1]], [[0, 1, 1], [0, 2, 1], [2, 2, 2]]
CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = {  # what becomes tensors, and what does not
    "tally": (metrics.tally, (PREDICTIONS, LABELS), (3,)),
    "recalls": (metrics.recalls, (TALLY.tolist(),), ()),
    "precisions": (metrics.precisions, (TALLY.tolist(),), ()),
    "f1s": (metrics.f1s, (TALLY.tolist(),), ()),
    "summary": (metrics.summary, (TALLY.tolist(), COUNTS), ()),
    "average_precisions": (metrics.average_precisions, (SCORES, TARGETS), ()),
    "multilabel_summary": (metrics.multilabel_summary, (SCORES, TARGETS, COUNTS), ()),
    "reliability": (metrics.reliability, (CONFIDENCE, PREDICTIONS, LABELS), (2,)),
    "ece": (metrics.ece, (CONFIDENCE, PREDICTIONS, LABELS), ()),
    "ece_by_group": (metrics.ece_by_group, (CONFIDENCE, PREDICTIONS, LABELS, COUNTS), ()),
    "ranks": (metrics.ranks, (SCORES, [0, 1, 2]), ()),
    "top_k_accuracy": (metrics.top_k_accuracy, ([0, 1, 0, 2, 0], LABELS), (2,)),
    "worst_case_accuracy": (lambda recall, delta: metrics.worst_case_accuracy(recall, delta, recall), ([0.5, 1.0],), (0.1,)),
    "ious": (metrics.ious, (TALLY.tolist(),), ()),
    "frequency_weighted_iou": (metrics.frequency_weighted_iou, (TALLY.tolist(),), ()),
    "pixel_groups": (metrics.pixel_groups, (COUNTS,), ()),
    "boundary_tally": (metrics.boundary_tally, (GUESS, MAP), (3, 1)),
    "boundary_f_scores": (metrics.boundary_f_scores, ([[1, 2], [2, 2], [1, 1], [2, 3]],), ()),
    "segmentation_summary": (metrics.segmentation_summary, (TALLY.tolist(), COUNTS), (["a", "b", "c"],)),
}


@pytest.mark.parametrize("name", CALLS)
def test_arrays_and_lists_are_as_good_as_tensors(name: str) -> None:
    function, given, rest = CALLS[name]
    expected = function(*(torch.tensor(values) for values in given), *rest)
    for made in (list, np.array, lambda values: read_only(np.array(values))):
        assert told(function(*(made(values) for values in given), *rest)) == told(expected)


def told(found: Any) -> str:
    """All of it in words, in which NaN equals NaN."""
    if isinstance(found, dict):
        return str({name: told(value) for name, value in found.items()})
    if isinstance(found, tuple):
        return str([told(value) for value in found])
    return repr(found.tolist() if isinstance(found, torch.Tensor) else found)


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("pixel_groups", "worst_case_accuracy")])
def test_other_things_get_one_line(name: str) -> None:
    function, given, rest = CALLS[name]
    for wrong in (["a", "b"], [[1], [2, 3]]):
        with pytest.raises(TailwiseError, match="other things than numbers; give a tensor, array or list") as error:
            function(wrong, *given[1:], *rest)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["summary", "multilabel_summary", "ece_by_group", "pixel_groups", "segmentation_summary"])
def test_counts_have_every_form_and_name_and_are_no_shares(name: str) -> None:
    function, (*given, _), rest = CALLS[name]
    more = {"names": rest[0]} if rest else {}
    expected = function(*given, torch.tensor(COUNTS), **more)
    numbered = Counter({2: 2, 0: 300, 1: 40})
    for found in (
        function(*given, numbered, **more),
        function(*given, class_counts=COUNTS, **more),
        function(*given, cls_num_list=np.array(COUNTS), **more),
    ):
        assert told(found) == told(expected)
    with pytest.raises(TailwiseError, match="fractions found"):
        function(*given, torch.tensor([0.5, 0.3, 0.2]), **more)


def test_a_class_in_eight_bits_is_not_taken_for_unlabelled() -> None:
    """IGNORE in eight bits without a sign is 156."""
    labels = torch.tensor([156, 3], dtype=torch.uint8)
    assert metrics.tally(labels, labels, 200)[1].sum() == 2
    assert metrics.top_k_accuracy(torch.tensor([0, 9]), labels, 1) == 0.5
    assert metrics.ece(torch.tensor([1.0, 1.0]), torch.tensor([156, 0]), labels) == 0.5


def test_recalls_of_a_summary_have_a_worst_case() -> None:
    recall = metrics.summary(metrics.tally([0, 1], [0, 0], 3), [5, 3, 1])["recall"]
    assert recall == [0.5, None, None]
    assert metrics.worst_case_accuracy(recall, 0.1) == 0.5
