"""Shot metrics and their tally against scikit-learn and scipy; classes absent from truth, from prediction, from both."""

import contextlib
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gmean, hmean
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from tailwise.counts import FEW, MANY
from tailwise.metrics import f1s, group_mean, precisions, recalls, summary, tally
from tailwise.types import IGNORE, TailwiseError

# scikit-learn's remarks on such data; its figures are what they should be
pytestmark = pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")

CIFAR10_LT_100 = torch.tensor([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Truth and prediction over C classes, most of which may never occur."""
    classes = draw(st.integers(1, 8))
    a_class = st.integers(0, classes - 1)
    pairs = draw(st.lists(st.tuples(a_class, a_class), min_size=1, max_size=40))
    return [t for t, _ in pairs], [p for _, p in pairs], classes


def tallied(truth: list[int], guess: list[int], classes: int) -> torch.Tensor:
    return tally(torch.tensor(guess, dtype=torch.int64), torch.tensor(truth, dtype=torch.int64), classes)


def of_matrix(matrix: list[list[int]]) -> torch.Tensor:
    """The tally of a confusion matrix by hand."""
    m = torch.tensor(matrix)
    return torch.stack([m.diagonal(), m.sum(1), m.sum(0)])


@given(answers())
def test_a_tally_is_read_off_sklearns_confusion_matrix(drawn: tuple[list[int], list[int], int]) -> None:
    truth, guess, classes = drawn
    found = tallied(truth, guess, classes)
    assert found.dtype == torch.int64
    assert found.tolist() == of_matrix(confusion_matrix(truth, guess, labels=list(range(classes))).tolist()).tolist()


@given(answers(), st.integers(0, 40))
def test_tallies_of_parts_add_up(drawn: tuple[list[int], list[int], int], cut: int) -> None:
    truth, guess, classes = drawn
    parts = tallied(truth[:cut], guess[:cut], classes) + tallied(truth[cut:], guess[cut:], classes)
    assert torch.equal(parts, tallied(truth, guess, classes))


@given(answers())
def test_per_class_figures_agree_with_sklearn(drawn: tuple[list[int], list[int], int]) -> None:
    truth, guess, classes = drawn
    labels = list(range(classes))
    m = tallied(truth, guess, classes)
    true = torch.tensor([c in truth for c in labels])
    either = torch.tensor([c in truth or c in guess for c in labels])
    for ours, reference, defined in (
        (recalls(m), recall_score, true),
        (precisions(m), precision_score, either),
        (f1s(m), f1_score, either),
    ):
        theirs = torch.tensor(reference(truth, guess, labels=labels, average=None, zero_division=0))
        torch.testing.assert_close(ours[defined], theirs[defined], rtol=0, atol=1e-12)
        assert ours[~defined].isnan().all()


@given(answers())
def test_summary_agrees_with_sklearn_and_scipy(drawn: tuple[list[int], list[int], int]) -> None:
    truth, guess, classes = drawn
    found = summary(tallied(truth, guess, classes), torch.ones(classes, dtype=torch.int64))
    recall = recall_score(truth, guess, labels=sorted(set(truth)), average=None, zero_division=0)
    assert found["overall"] == pytest.approx(accuracy_score(truth, guess))
    assert found["balanced"] == pytest.approx(balanced_accuracy_score(truth, guess))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro", zero_division=0))
    assert found["worst"]["recall"] == pytest.approx(recall.min())
    assert found["worst"]["class"] == sorted(set(truth))[int(recall.argmin())]
    assert found["harmonic"] == pytest.approx(0.0 if recall.min() == 0 else hmean(recall))
    assert found["geometric"] == pytest.approx(0.0 if recall.min() == 0 else gmean(recall))


@given(st.data())
def test_group_values_are_means_of_the_groups_recalls(data: st.DataObject) -> None:
    truth, guess, classes = data.draw(answers())
    counts = data.draw(st.lists(st.sampled_from([0, FEW - 1, FEW, MANY, MANY + 1]), min_size=classes, max_size=classes))
    found = summary(tallied(truth, guess, classes), torch.tensor(counts))
    inside = {"many": lambda n: n > 100, "medium": lambda n: 20 <= n <= 100, "few": lambda n: n < 20}
    for name, rule in inside.items():
        members = [c for c in range(classes) if rule(counts[c])]
        assert found["classes_in_group"][name] == len(members)
        tested = [c for c in members if c in truth]
        hits = [np.mean([g == t for t, g in zip(truth, guess, strict=True) if t == c]) for c in tested]
        assert found[name] == (pytest.approx(np.mean(hits)) if tested else None)


def test_cifar10_lt_100_has_no_few_shot_class() -> None:
    rows = [[7 * (i == j) for j in range(10)] for i in range(9)] + [[3, 0, 0, 0, 0, 0, 0, 0, 0, 1]]
    found = summary(of_matrix(rows), CIFAR10_LT_100)
    assert found["classes_in_group"] == {"many": 8, "medium": 2, "few": 0}
    assert found["edges"] == {"many": "> 100", "medium": "20 to 100", "few": "< 20"}
    assert (found["many"], found["medium"], found["few"]) == (1.0, (1 + 0.25) / 2, None)
    assert found["thirds"] == {"head": 1.0, "middle": 1.0, "tail": pytest.approx((1 + 1 + 0.25) / 3)}
    assert found["worst"] == {"class": 9, "recall": 0.25}
    assert found["harmonic"] == pytest.approx(10 / (9 + 4))
    assert found["geometric"] == pytest.approx(0.25**0.1)


def test_a_recall_of_zero_makes_both_means_zero() -> None:
    found = summary(of_matrix([[5, 0], [2, 0]]), torch.tensor([10, 10]))
    assert (found["harmonic"], found["geometric"], found["balanced"]) == (0.0, 0.0, 0.5)
    assert (found["recall"], found["precision"]) == ([1.0, 0.0], [5 / 7, 0.0])


def test_undefined_figures_are_none() -> None:
    found = summary(of_matrix([[1, 0, 0], [1, 0, 0], [0, 0, 0]]), torch.tensor([3, 2, 1]))
    assert found["recall"] == [1.0, 0.0, None]
    assert found["precision"] == [0.5, 0.0, None]
    assert found["thirds"]["tail"] is None
    nothing = summary(of_matrix([[0, 0], [0, 0]]), torch.tensor([3, 2]))
    undefined = ("overall", "balanced", "few", "worst", "harmonic", "geometric", "macro_f1")
    assert [nothing[key] for key in undefined] == [None] * 7


def test_ignored_samples_and_pixel_axes() -> None:
    labels = torch.tensor([[0, 1], [IGNORE, 1]])
    predictions = torch.tensor([[0, 0], [1, 1]])
    assert tally(predictions, labels, 2).tolist() == [[1, 1], [1, 2], [2, 1]]


def test_group_mean_skips_undefined_values() -> None:
    values = torch.tensor([0.25, math.nan, 0.75])
    assert group_mean(values, torch.tensor([True, True, True])) == 0.5
    assert group_mean(values, torch.tensor([False, True, False])) is None
    assert group_mean(values, torch.tensor([False, False, False])) is None


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([0, 1], [0], "differ in shape"),
        ([0, 2], [0, 1], "prediction 2 is outside 0..1"),
        ([0, 1], [0, -1], "label -1 is outside 0..1"),
    ],
)
def test_mistakes_are_named(predictions: list[int], labels: list[int], message: str) -> None:
    with pytest.raises(TailwiseError, match=f"tally: .*{message}"):
        tally(torch.tensor(predictions), torch.tensor(labels), 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("wrong", ["labels", "predictions"])
def test_numbers_that_are_not_whole_are_refused(wrong: str, dtype: torch.dtype) -> None:
    given = {"predictions": torch.tensor([0, 1]), "labels": torch.tensor([0, 1])}
    given[wrong] = given[wrong].to(dtype)
    with pytest.raises(TailwiseError, match=f"tally: {wrong} are {dtype}; give the numbers of classes"):
        tally(**given, classes=2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_whole_numbers_of_any_width_are_counted(dtype: torch.dtype) -> None:
    assert tally(torch.tensor([0, 1], dtype=dtype), torch.tensor([0, 0], dtype=dtype), 2).tolist() == [[1, 0], [2, 0], [1, 1]]


def test_summary_refuses_counts_of_other_classes() -> None:
    with pytest.raises(TailwiseError, match="3 training counts for 2 classes"):
        summary(of_matrix([[1, 0], [0, 1]]), torch.tensor([1, 2, 3]))


@pytest.mark.parametrize("figure", [recalls, precisions, f1s])
def test_a_confusion_matrix_is_not_taken_for_a_tally(figure: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(TailwiseError, match=r"shape \(3, classes\), got \(4, 4\); make it with metrics.tally"):
        figure(torch.eye(4))


@pytest.mark.parametrize("figure", [recalls, precisions, f1s, lambda matrix: summary(matrix, torch.tensor([9, 9, 9]))])
@pytest.mark.parametrize(
    "matrix",
    [
        [[8, 1, 1], [2, 7, 1], [0, 3, 7]],  # equal test samples per class: the sums of all rows are equal
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 1, 0], [1, 3, 0], [3, 1, 0]],  # no row below the first, equal sums; yet a class would be confused with itself
        [[0, 0, 4], [0, 1, 5], [2, 2, 6]],
        [[0, -1, 0], [1, 0, 0], [1, 0, 0]],
    ],
)
def test_a_confusion_matrix_of_three_classes_is_not_taken_for_a_tally(
    figure: Callable[[torch.Tensor], object], matrix: list[list[int]]
) -> None:
    with pytest.raises(TailwiseError, match="no hits, true and predicted counts of any answers"):
        figure(torch.tensor(matrix))


def test_just_the_tallies_of_answers_are_taken() -> None:
    """Every table of numbers up to 2 with a total of 2, against all the answers that two samples can get."""
    classes = range(3)
    pairs = list(itertools.product(classes, classes))
    possible = {tuple(tallied([a, c], [b, d], 3).flatten().tolist()) for (a, b), (c, d) in itertools.product(pairs, pairs)}
    sums = [row for row in itertools.product(range(3), repeat=3) if sum(row) == 2]
    taken = set()
    for hits, true, predicted in itertools.product(itertools.product(range(3), repeat=3), sums, sums):
        with contextlib.suppress(TailwiseError):
            recalls(torch.tensor([hits, true, predicted]))
            taken.add((*hits, *true, *predicted))
    assert taken == possible


def test_no_class_at_all_has_no_figure() -> None:
    assert recalls(torch.zeros(3, 0, dtype=torch.int64)).shape == (0,)


def test_many_classes_need_no_matrix() -> None:
    classes = 100_000  # a matrix would hold 10 ** 10 numbers
    g = torch.Generator().manual_seed(0)
    truth = torch.randint(classes, (1000,), generator=g)
    found = summary(tally(truth, truth, classes), torch.ones(classes, dtype=torch.int64))
    assert (found["overall"], found["balanced"], found["macro_f1"]) == (1.0, 1.0, 1.0)
