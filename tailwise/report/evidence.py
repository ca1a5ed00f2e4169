"""What a report shows beside the figures of a run: the answers to single test images, and where their features lie."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tailwise.counts import shot_groups
from tailwise.data.source import Images, Split
from tailwise.evaluate import Answers, Shipped, observe
from tailwise.types import IGNORE, Batch, Output

MAPPED = 1000
"""Test images in a map of features at most: t-SNE of so many takes three seconds of one core."""

NEIGHBOURS = 30
"""The perplexity of t-SNE (van der Maaten and Hinton, JMLR 2008), and the axes that it reads."""

Confusion = tuple[int, int, int]
"""True class, predicted class, how often."""


class Evidence(NamedTuple):
    """A model's answers to the N images of a test split."""

    labels: Tensor  # (N,) int64, IGNORE allowed
    predictions: Tensor  # (N,) int64
    confidence: Tensor  # (N,) float64 of the prediction
    shipped: Tensor  # (N,) int64 what users are told: calibrated, every class alike
    sure: Tensor  # (N,) float64 the probability that they are told with it
    mapped: Tensor  # (n,) int64: the images whose features were kept, n ≤ `MAPPED`
    features: Tensor  # (n, D) float32
    images: Images


class _Watched(nn.Module):
    """A model that keeps the features (n, D) of the ``wanted`` (N,) bool among the samples that it sees one after another."""

    def __init__(self, model: nn.Module, wanted: Tensor) -> None:
        super().__init__()
        self.model, self.wanted, self.seen = model, wanted, 0
        self.kept: list[Tensor] = []

    def forward(self, views: Tensor) -> Output:
        out: Output = self.model(views)
        kept = self.wanted[self.seen : self.seen + views.shape[1]]
        self.kept.append(out.features[0].cpu()[kept].float())
        self.seen += views.shape[1]
        return out


def gather(
    model: nn.Module, batches: Iterable[Batch], split: Split, counts: Tensor, shift: Tensor | None, shipped: Shipped
) -> tuple[Answers, Evidence]:
    """The answers of a model to all batches, which are the ``split`` in order; ``counts`` (C,) of the training set.

    ``shift`` and ``shipped`` as of `tailwise.evaluate.observe`.
    """
    mapped = spread_over_groups(split.labels, counts, MAPPED)
    wanted = torch.zeros(len(split.labels), dtype=torch.bool)
    wanted[mapped] = True
    watched = _Watched(model, wanted)
    answers = observe(watched, batches, shift, shipped)
    assert answers.shipped is not None
    assert answers.sure is not None
    features = torch.cat(watched.kept).clone()  # outside inference mode, so an ordinary tensor
    told = (answers.labels, answers.predictions, answers.confidence, answers.shipped, answers.sure)
    return answers, Evidence(*told, mapped, features, split.images)


def group_of(counts: Tensor) -> Tensor:
    """0, 1 or 2 for each class (C,): many-, medium- or few-shot."""
    return torch.stack([*shot_groups(counts).values()]).long().argmax(0)


def spread_over_groups(labels: Tensor, counts: Tensor, limit: int = MAPPED) -> Tensor:
    """At most ``limit`` of the labelled samples, sorted: as equal shares of the shot groups as can be, always the same ones."""
    kept = torch.nonzero(labels != IGNORE)[:, 0]
    kept = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))]
    group = group_of(counts)[labels[kept]]
    turn = torch.zeros_like(kept)
    for g in range(3):
        turn[group == g] = torch.arange(int((group == g).sum()))
    return kept[turn.argsort(stable=True)[:limit]].sort().values


def flow(labels: Tensor, predictions: Tensor, counts: Tensor) -> Tensor:
    """Where the samples of each shot group end: (3, 4) int64, the columns right, and wrong in many, medium and few."""
    kept, group = labels != IGNORE, group_of(counts)
    truth, found = labels[kept], predictions[kept]
    end = torch.where(truth == found, 0, 1 + group[found])
    return torch.bincount(4 * group[truth] + end, minlength=12).view(3, 4)


def confusions(labels: Tensor, predictions: Tensor) -> list[Confusion]:
    """The wrong answers counted, the most frequent first, ties by class; never a (C, C) matrix."""
    wrong = (labels != IGNORE) & (labels != predictions)
    counted = Counter(zip(labels[wrong].tolist(), predictions[wrong].tolist(), strict=True))
    return sorted(((truth, found, n) for (truth, found), n in counted.items()), key=lambda row: (-row[2], *row))


def pairs(confused: Iterable[Confusion]) -> list[tuple[int, int, int, int]]:
    """Pairs of classes with the errors one way and the other, a, b, a taken for b, b for a: most errors first, a's no fewer."""
    both: dict[tuple[int, int], list[int]] = {}
    for truth, found, n in confused:
        both.setdefault((min(truth, found), max(truth, found)), [0, 0])[truth > found] += n
    ordered = sorted(both.items(), key=lambda item: (-sum(item[1]), *item[0]))
    return [(a, b, there, back) if there >= back else (b, a, back, there) for (a, b), (there, back) in ordered]


def flat(features: Tensor) -> tuple[NDArray[np.float64], str]:
    """Features (n, D) as places (n, 2) in [0, 1], and how: by t-SNE, of few or unfit ones by their principal components."""
    rows = features.double().numpy()
    if len(rows) == 0 or not np.isfinite(rows).all():
        return np.full((len(rows), 2), 0.5), "none"
    rows = rows - rows.mean(0)
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    axes = (left * values)[:, :NEIGHBOURS]
    places, how = np.pad(axes[:, :2], ((0, 0), (0, max(2 - axes.shape[1], 0)))), "principal components"
    if len(rows) > 3 * NEIGHBOURS and places[:, 0].std() > 0:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        start = places / places[:, 0].std() * 1e-4  # as small as scikit-learn's own start
        method = TSNE(perplexity=NEIGHBOURS, init=start, max_iter=500, random_state=0)
        with threadpool_limits(1):  # its threads wait for one another: half a minute on a busy machine
            places, how = method.fit_transform(axes.astype(np.float32)).astype(np.float64), "t-SNE"
    low, high = places.min(0), places.max(0)
    return (places - low) / np.where(high > low, high - low, 1), how
