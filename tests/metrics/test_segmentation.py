"""Segmentation figures against scikit-learn on all pixels in one row; boundaries against scipy's distances; absent classes."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt
from sklearn.metrics import jaccard_score, precision_score, recall_score
from torch import Tensor

from tailwise.metrics import (
    boundary_f_scores,
    boundary_tally,
    frequency_weighted_iou,
    ious,
    pixel_groups,
    segmentation_summary,
    tally,
)
from tailwise.types import IGNORE, TailwiseError

CAMVID = torch.tensor([10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967])
NAMES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]


def maps(seed: int, classes: int, size: tuple[int, int] = (13, 17)) -> tuple[Tensor, Tensor]:
    """Prediction and truth of blocks of 3 × 3 pixels, a tenth of the truth IGNORE, with most pixels right."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, tuple(-(-side // 3) for side in size))
    truth = np.kron(blocks, np.ones((3, 3), dtype=np.int64))[: size[0], : size[1]]
    guess = np.where(rng.random(size) < 0.2, rng.integers(0, classes, size), np.roll(truth, 1, axis=1))
    return torch.from_numpy(guess), torch.from_numpy(np.where(rng.random(size) < 0.1, IGNORE, truth))


@st.composite
def data_set(draw: st.DrawFn) -> tuple[list[tuple[Tensor, Tensor]], int]:
    """Images of different sizes over C classes, most of which may never occur."""
    classes = draw(st.integers(1, 7))
    a_class = st.integers(0, classes - 1)
    images = []
    for _ in range(draw(st.integers(1, 3))):
        h, w = draw(st.integers(1, 3)), draw(st.integers(1, 4))
        row = st.lists(a_class, min_size=h * w, max_size=h * w)
        images.append((torch.tensor(draw(row)).reshape(h, w), torch.tensor(draw(row)).reshape(h, w)))
    return images, classes


@settings(max_examples=40)  # scikit-learn takes most of the time
@given(data_set())
def test_figures_of_summed_tallies_are_sklearns_on_all_pixels(drawn: tuple[list[tuple[Tensor, Tensor]], int]) -> None:
    images, classes = drawn
    total = torch.stack([tally(guess, truth, classes) for guess, truth in images]).sum(0)
    guess, truth = (torch.cat([image[side].flatten() for image in images]).numpy() for side in (0, 1))
    every, seen = list(range(classes)), sorted({*guess.tolist(), *truth.tolist()})
    ours = dict(zip(every, ious(total).tolist(), strict=True))
    assert [c for c in every if ours[c] == ours[c]] == seen
    assert [ours[c] for c in seen] == pytest.approx(jaccard_score(truth, guess, labels=seen, average=None, zero_division=0))

    figures = segmentation_summary(total, torch.ones(classes, dtype=torch.int64), [str(c) for c in every])
    assert figures["miou"] == pytest.approx(jaccard_score(truth, guess, labels=seen, average="macro", zero_division=0))
    occur = sorted(set(truth.tolist()))
    assert figures["mean_accuracy"] == pytest.approx(recall_score(truth, guess, labels=occur, average="macro"))
    precision = precision_score(truth, guess, labels=seen, average="macro", zero_division=0)
    assert figures["mean_precision"] == pytest.approx(precision)
    assert figures["pixel_accuracy"] == pytest.approx(float((truth == guess).mean()))
    weighted = jaccard_score(truth, guess, labels=every, average="weighted", zero_division=0)
    assert frequency_weighted_iou(total) == pytest.approx(weighted)


def test_the_mean_over_images_is_another_number() -> None:
    truths = [torch.tensor([[0, 0, 0, 0, 0, 0, 0, 1]]), torch.tensor([[1, 1, 1, 1, 1, 1, 1, 1]])]
    guesses = [torch.zeros(1, 8, dtype=torch.int64), torch.ones(1, 8, dtype=torch.int64)]
    each = [tally(guess, truth, 2) for guess, truth in zip(guesses, truths, strict=True)]
    whole = float(ious(each[0] + each[1]).mean())
    row = [torch.cat(side, 1)[0] for side in (truths, guesses)]
    assert whole == pytest.approx(jaccard_score(*row, average="macro"))
    assert whole == pytest.approx((7 / 8 + 8 / 9) / 2)
    assert float(torch.stack([ious(t).nanmean() for t in each]).mean()) == pytest.approx((7 / 16 + 1) / 2)


def test_absent_is_undefined_and_a_false_positive_costs() -> None:
    truth, guess = torch.tensor([[0, 0, 1, IGNORE]]), torch.tensor([[0, 2, 1, 3]])
    figures = segmentation_summary(tally(guess, truth, 5), torch.tensor([9, 9, 9, 9, 0]), list("abcde"))
    assert [row["iou"] for row in figures["per_class"]] == [0.5, 1.0, 0.0, None, None]
    assert [row["accuracy"] for row in figures["per_class"]] == [0.5, 1.0, None, None, None]
    assert [row["precision"] for row in figures["per_class"]] == [1.0, 1.0, 0.0, None, None]
    assert figures["miou"] == pytest.approx(0.5)
    assert figures["groups"]["tail"] == {"classes": 1, "miou": None, "accuracy": None, "precision": None}
    assert figures["worst"] == {"name": "c", "iou": 0.0}


def test_nothing_labelled_is_undefined_everywhere() -> None:
    nothing = tally(torch.zeros(2, 2, dtype=torch.int64), torch.full((2, 2), IGNORE), 2)
    zeros = torch.zeros(2, dtype=torch.int64)
    figures = segmentation_summary(nothing, zeros, ["a", "b"], boundary=torch.zeros(4, 2, dtype=torch.int64))
    for key in ("miou", "pixel_accuracy", "mean_accuracy", "mean_precision", "frequency_weighted_iou", "worst", "boundary_f"):
        assert figures[key] is None, key
    assert "NaN" not in json.dumps(figures)


def test_groups_of_camvid_and_their_edges() -> None:
    groups = {group: [NAMES[c] for c in mask.nonzero()[:, 0].tolist()] for group, mask in pixel_groups(CAMVID).items()}
    assert groups == {
        "head": ["sky", "building", "road", "tree"],
        "medium": ["pavement", "car"],
        "tail": ["pole", "sign", "fence", "pedestrian", "bicyclist"],
    }
    edge = pixel_groups(torch.tensor([70, 25, 5, 12, 6, 82]) * 6)  # 1/6 of 200 is no whole number, 1/24 neither
    assert {g: mask.nonzero()[:, 0].tolist() for g, mask in edge.items()} == {"head": [0, 5], "medium": [1, 3], "tail": [2, 4]}
    exact = pixel_groups(torch.tensor([100, 25, 24, 251]))  # an equal share is 100, a quarter of it 25
    assert {g: mask.nonzero()[:, 0].tolist() for g, mask in exact.items()} == {"head": [0, 3], "medium": [1], "tail": [2]}


def test_a_group_is_the_mean_over_its_classes() -> None:
    guess, truth = maps(0, 11, (40, 40))
    found = tally(guess, truth, 11)
    figures = segmentation_summary(found, CAMVID, NAMES)
    tail = figures["groups"]["tail"]
    rows = [row for row in figures["per_class"] if row["group"] == "tail"]
    assert tail["classes"] == len(rows) == 5
    for key, column in (("miou", "iou"), ("accuracy", "accuracy"), ("precision", "precision")):
        assert tail[key] == pytest.approx(np.mean([row[column] for row in rows]))
    assert sum(row["share"] for row in figures["per_class"]) == pytest.approx(1)
    assert [row["test"] for row in figures["per_class"]] == found[1].tolist()
    assert json.loads(json.dumps(figures)) == figures


def slow_boundary(guess: Tensor, truth: Tensor, classes: int, tolerance: int) -> list[list[int]]:
    """The rows of `boundary_tally`, pixel by pixel and with scipy's distances along the longer axis."""
    sides = [np.where(truth == IGNORE, IGNORE, guess), truth.numpy()]
    columns = []
    for c in range(classes):
        outlines = []
        for side in sides:
            outline = np.zeros(side.shape, dtype=bool)
            for (y, x), own in np.ndenumerate(side):
                around = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
                inside = (side[p] for p in around if 0 <= p[0] < side.shape[0] and 0 <= p[1] < side.shape[1])
                outline[y, x] = own == c and any(other not in (c, IGNORE) for other in inside)
            outlines.append(outline)
        predicted, true = outlines
        near_true, near_predicted = (
            distance_transform_cdt(~o, metric="chessboard") <= tolerance if o.any() else o for o in (true, predicted)
        )
        columns.append([(predicted & near_true).sum(), predicted.sum(), (true & near_predicted).sum(), true.sum()])
    return [[int(n) for n in row] for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("tolerance", [0, 1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_boundaries_are_those_of_a_slow_search(seed: int, tolerance: int) -> None:
    guess, truth = maps(seed, 4)
    assert boundary_tally(guess, truth, 5, tolerance).tolist() == slow_boundary(guess, truth, 5, tolerance)


def test_boundary_f_of_shifted_squares() -> None:
    truth = torch.zeros(20, 30, dtype=torch.int64)
    truth[5:12, 5:12] = 1
    shifted = truth.roll(2, 1)
    for tolerance, score in ((2, 1.0), (1, None), (0, None)):
        f = boundary_f_scores(boundary_tally(shifted, truth, 3, tolerance))
        assert bool(f[2].isnan())
        assert float(f[1]) == 1.0 if score == 1.0 else 0 < float(f[1]) < 1
    one = boundary_tally(truth, torch.zeros_like(truth), 3)
    assert boundary_f_scores(one).tolist()[:2] == [0.0, 0.0]
    both = boundary_tally(shifted, truth, 3, 1) + boundary_tally(truth, truth, 3, 1)
    near_true, predicted, near_predicted, true = both[:, 1].tolist()
    p, r = near_true / predicted, near_predicted / true
    assert float(boundary_f_scores(both)[1]) == pytest.approx(2 * p * r / (p + r))


def test_the_tolerance_follows_the_diagonal() -> None:
    truth = torch.zeros(300, 400, dtype=torch.int64)  # diagonal 500, 0.75 % of it 3.75
    truth[:, 200:] = 1
    f = [float(boundary_f_scores(boundary_tally(truth.roll(by, 1)[:, 50:350], truth[:, 50:350], 2))[1]) for by in (3, 4)]
    assert f[0] == 1.0  # of 300 × 300: 3.18
    assert f[1] < 1.0


def test_the_edge_of_what_is_ignored_is_no_boundary() -> None:
    truth = torch.full((6, 6), IGNORE)
    truth[:, :3] = 0
    assert int(boundary_tally(torch.zeros(6, 6, dtype=torch.int64), truth, 2).sum()) == 0
    guess = torch.zeros(6, 6, dtype=torch.int64)
    guess[:, 3:] = 1  # only where nobody looks
    assert int(boundary_tally(guess, truth, 2).sum()) == 0


def test_mistakes_are_named() -> None:
    found = tally(torch.tensor([0, 1]), torch.tensor([0, 1]), 2)
    with pytest.raises(TailwiseError, match="3 training counts for 2 classes"):
        segmentation_summary(found, torch.ones(3, dtype=torch.int64), ["a", "b"])
    with pytest.raises(TailwiseError, match="1 class names for 2 classes"):
        segmentation_summary(found, torch.ones(2, dtype=torch.int64), ["a"])
    with pytest.raises(TailwiseError, match="one image at a time"):
        boundary_tally(torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 2, dtype=torch.int64), 2)
    with pytest.raises(TailwiseError, match=r"outside 0\.\.1"):
        boundary_tally(torch.full((2, 2), 2), torch.zeros(2, 2, dtype=torch.int64), 2)
    with pytest.raises(TailwiseError, match=r"metrics\.tally"):
        ious(torch.ones(3, 3, dtype=torch.int64) * 5 - torch.eye(3, dtype=torch.int64) * 5)
