"""Average precision against scikit-learn, and its mean by group of classes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from tailwise.metrics import average_precisions, multilabel_summary
from tailwise.metrics.multilabel import BINS, REACH, binned_average_precisions, histograms, thresholded
from tailwise.types import TailwiseError


@given(st.integers(0, 999), st.integers(1, 30), st.integers(1, 4), st.sampled_from([2, 5, 10**6]))
def test_equals_scikit_learn_whatever_the_ties(seed: int, samples: int, classes: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, levels, (samples, classes), generator=generator).double()
    targets = torch.randint(0, 2, (samples, classes), generator=generator)
    found = average_precisions(scores, targets)
    for c in range(classes):
        if targets[:, c].any():
            expected = average_precision_score(targets[:, c].numpy(), scores[:, c].numpy())
            assert float(found[c]) == pytest.approx(expected, abs=1e-12)
        else:
            assert bool(found[c].isnan())


def test_the_order_of_equal_scores_says_nothing() -> None:
    scores, targets = torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([[1.0], [0.0], [1.0]])
    for order in ([0, 1, 2], [1, 0, 2]):
        assert average_precisions(scores[order], targets[order]).tolist() == [0.5 * 0.5 + 0.5 * (2 / 3)]


def test_the_summary_is_by_group_of_training_positives() -> None:
    targets = torch.tensor([[1, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1, 1, 0]])
    scores = torch.tensor([[3.0, 1, 1, 1, 1], [2, 2, 2, 2, 2], [1, 3, 3, 3, 3]])
    told = multilabel_summary(scores, targets, torch.tensor([101, 100, 20, 19, 5]))
    second, third = 0.5, 0.5 + 0.5 * (2 / 3)
    assert told["ap"] == pytest.approx([1, second, third, 1, None], nan_ok=False)
    assert told["head"] == 1
    assert told["medium"] == pytest.approx((second + third) / 2)
    assert told["tail"] == 1  # the last class has no positive here and is left out
    assert told["map"] == pytest.approx((1 + second + third + 1) / 4)
    assert told["classes_in_group"] == {"head": 1, "medium": 2, "tail": 2}
    assert told["edges"] == {"head": "> 100", "medium": "20 to 100", "tail": "< 20"}


def test_a_group_without_a_defined_class_is_none() -> None:
    told = multilabel_summary(torch.rand(3, 1), torch.zeros(3, 1), torch.tensor([500]))
    assert told["map"] is told["head"] is told["medium"] is told["tail"] is told["ap"][0] is None
    assert multilabel_summary(torch.rand(0, 1), torch.zeros(0, 1), torch.tensor([500]))["map"] is None


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        (torch.rand(3, 2), torch.zeros(3, 1), "shape|samples, classes"),
        (torch.rand(3), torch.zeros(3), "samples, classes"),
        (torch.rand(3, 1), torch.full((3, 1), 0.5), "other than 0 and 1"),
        (torch.full((3, 1), torch.nan), torch.zeros(3, 1), "not a number"),
    ],
)
def test_what_makes_no_sense_is_refused(scores: torch.Tensor, targets: torch.Tensor, message: str) -> None:
    with pytest.raises(TailwiseError, match=message):
        average_precisions(scores, targets)


def test_counts_of_other_classes_are_refused() -> None:
    with pytest.raises(TailwiseError, match="2 training counts for 1 classes"):
        multilabel_summary(torch.rand(3, 1), torch.ones(3, 1), torch.tensor([5, 3]))


def test_histograms_of_batches_add_up_and_give_the_same_figure_to_a_bin() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(400, 3, generator=generator) < torch.tensor([0.5, 0.1, 0.0])).long()
    logits = 3 * torch.randn(400, 3, generator=generator) + 2 * targets
    whole = histograms(logits, targets)
    parts = histograms(logits[:150], targets[:150]) + histograms(logits[150:], targets[150:])
    assert torch.equal(whole, parts)
    assert whole.sum((0, 2)).tolist() == [400] * 3
    found, exact = binned_average_precisions(whole), average_precisions(logits, targets)
    assert torch.allclose(found[:2], exact[:2], atol=0.01)
    assert bool(found[2].isnan())
    coarse = ((logits / REACH + 1) * (BINS / 2)).floor()  # logits of one bin are equal, and then it is exact
    assert torch.allclose(found[:2], average_precisions(coarse, targets)[:2], atol=1e-12)


def test_logits_beyond_the_histogram_are_counted_at_its_ends() -> None:
    counted = histograms(torch.tensor([[-1e9], [1e9], [float("inf")]]), torch.tensor([[0], [1], [1]]))
    assert counted[0, 0, 0] == 1
    assert counted[1, 0, -1] == 2


def test_calls_above_a_threshold() -> None:
    targets = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 1]])
    logits = torch.tensor([[2.0, -1.0, -1.0], [1.0, -1.0, -1.0], [-1.0, -1.0, -1.0], [-1.0, -1.0, -2.0]])
    found = thresholded(logits, targets)
    assert found["precision"] == [0.5, None, 0.0]  # never called: wrong where there are samples, undefined where there are none
    assert found["recall"] == [0.5, None, 0.0]
    assert found["f1"] == [0.5, None, 0.0]
    assert found["macro_f1"] == 0.25
    assert found["micro_f1"] == pytest.approx(2 * 1 / (2 + 5))
    assert found["predicted"] == 0.5
    lower = thresholded(logits, targets, torch.tensor([0.0, torch.inf, -1.5]))
    assert lower["recall"][2] == pytest.approx(2 / 3)
