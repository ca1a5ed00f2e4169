"""Splits of images with several labels."""

import pytest
import torch

from tailwise.data import MultiLabelSplit, Stacked, hold_out
from tailwise.data.multilabel import indicators, rarest_label
from tailwise.types import TailwiseError

POSITIVES = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]]).float()


def split(positives: torch.Tensor) -> MultiLabelSplit:
    images = Stacked(torch.zeros(len(positives), 3, 2, 2, dtype=torch.uint8))
    return MultiLabelSplit(images, rarest_label(positives), positives=positives)


def test_indicators_and_the_rarest_label() -> None:
    assert torch.equal(indicators([{0, 1}, [0], (), {2, 0}], 3), POSITIVES)
    assert indicators([], 3).shape == (0, 3)
    assert rarest_label(POSITIVES).tolist() == [1, 0, 3, 2]  # of equal classes the first; 3 is no label


def test_a_part_keeps_what_belongs_to_its_images() -> None:
    part = split(POSITIVES).subset(torch.tensor([3, 2]))
    assert part.labels.tolist() == [2, 3]
    assert part.targets(torch.tensor([0])).tolist() == [[1, 0, 1]]
    assert part.counts(3).tolist() == [1, 0, 1]
    with pytest.raises(TailwiseError, match="labels of 3 classes, not 4"):
        part.counts(4)


def test_every_class_and_images_without_one_are_held_out_in_proportion() -> None:
    generator = torch.Generator().manual_seed(0)
    whole = split((torch.rand(2000, 4, generator=generator) < torch.tensor([0.5, 0.2, 0.05, 0.005])).float())
    kept, held = hold_out(whole.labels, 0.25, 0, least=0)
    shares = whole.subset(held).counts(4) / whole.counts(4)
    assert float((shares - 0.25).abs().max()) < 0.06
    assert int((whole.labels[held] == 4).sum()) / int((whole.labels == 4).sum()) == pytest.approx(0.25, abs=0.01)
    assert len(kept) + len(held) == 2000
