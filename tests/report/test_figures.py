"""What a table shows of each kind of task."""

from typing import Any

import pytest
import torch
from report.runs import labelled, run_of

from tailwise.report.figures import IMAGES, KINDS, MULTILABEL, PIXELS, figures
from tailwise.types import TailwiseError

LABELLED = labelled(torch.tensor([300, 60, 3]))[0]


def test_the_kind_follows_from_the_result() -> None:
    assert figures([run_of(0, 0.5)]) is IMAGES
    assert figures([{"miou": 0.5}]) is PIXELS
    assert figures([LABELLED, LABELLED]) is MULTILABEL
    assert figures([{"task": "multilabel"}]) is MULTILABEL  # also of a block without its figures
    assert figures([{"task": "of another world"}, run_of(0, 0.5)]) is IMAGES
    assert figures([]) is IMAGES  # a bench that failed throughout
    assert len({kind.headline for kind in KINDS.values()}) == len(KINDS)  # cards go by it


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([run_of(0, 0.5), {"miou": 0.5}], "some of these runs label images, others label pixels; compare them apart"),
        ([LABELLED, run_of(0, 0.5)], "some of these runs give images several labels, others label images;"),
    ],
)
def test_kinds_are_not_mixed(results: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(TailwiseError, match=f"^report: {said}"):
        figures(results)


def test_several_labels() -> None:
    assert [of(LABELLED) for of in MULTILABEL.columns.values()] == [
        LABELLED[key] for key in ("head", "medium", "tail", "macro_f1")
    ]
    assert MULTILABEL.worst(LABELLED) == LABELLED["worst"]["ap"]
    assert MULTILABEL.worst({"worst": None}) is None
    assert (
        MULTILABEL.edges(LABELLED)
        == "Training positives per class: head > 100 (1 class), medium 20 to 100 (1 class), tail < 20 (1 class)"
    )
