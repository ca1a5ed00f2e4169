"""Rows of the frame that contrastive objectives share."""

import torch
from tiny import DIM, Rows

from tailwise.losses.rescom import ResCom
from tailwise.types import IGNORE


def test_views_of_a_sample_lie_side_by_side() -> None:
    objective = ResCom([5, 3, 1], Rows(3), width=7, hidden=11).eval()
    features, labels = torch.randn(2, 3, DIM, generator=torch.Generator().manual_seed(0)), torch.tensor([2, IGNORE, 0])
    found = objective.columns(features, labels)
    torch.testing.assert_close(found.anchors[[2, 3]], objective.projector(features[:, 1]))
    torch.testing.assert_close(found.columns[found.position], found.anchors)
    assert found.anchors.shape == (6, 7)
    assert found.labels.tolist() == [2, 2, IGNORE, IGNORE, 0, 0] == found.column_labels[found.position].tolist()
