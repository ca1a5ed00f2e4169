"""Random answers of a classifier on a long tail: classes that are absent, single or never predicted, and few or many."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tailwise.types import IGNORE

EDGES = (0, 1, 19, 20, 21, 99, 100, 101)
"""Training counts at which a shot group begins or ends."""
LARGE = (200, 1000, 3000)
"""How many classes every fiftieth set has."""


@dataclass(frozen=True)
class LabelSet:
    """N samples of C classes. Every number follows from the seed."""

    labels: Tensor  # (N,) int64, some IGNORE
    logits: Tensor  # (N, C) float64, no two equal in a row
    counts: Tensor  # (C,) int64 training samples, the edges of the groups and 0 among them
    train: tuple[Tensor, Tensor]  # predictions and labels of another set of the same classes
    scores: Tensor  # (N, D) float64 with ties, D ≤ 40, for several labels
    targets: Tensor  # (N, D) int64, of some classes none

    @property
    def classes(self) -> int:
        """C."""
        return self.counts.numel()

    def kinds(self) -> dict[str, bool]:
        """Which of the cases that metrics get wrong it has."""
        truth, guess = self.labels[self.labels != IGNORE], self.logits.argmax(1)[self.labels != IGNORE]
        true, predicted = (torch.bincount(of, minlength=self.classes) for of in (truth, guess))
        sizes = [int(((self.counts >= low) & (self.counts <= high)).sum()) for low, high in ((101, 10**9), (20, 100), (0, 19))]
        return {
            "a class without a test sample": bool((true == 0).any()),
            "a class with a single one": bool((true == 1).any()),
            "a class that is never predicted but occurs": bool(((predicted == 0) & (true > 0)).any()),
            "a class that is predicted but does not occur": bool(((predicted > 0) & (true == 0)).any()),
            "a class without a training sample": bool((self.counts == 0).any()),
            "an empty shot group": 0 in sizes,
            "a shot group without a test sample": any(
                size and not int(true[(self.counts >= low) & (self.counts <= high)].sum())
                for size, (low, high) in zip(sizes, ((101, 10**9), (20, 100), (0, 19)), strict=True)
            ),
            "samples without a label": bool((self.labels == IGNORE).any()),
            "one class": self.classes == 1,
            "200 classes or more": self.classes >= LARGE[0],
        }


def draw(seed: int) -> LabelSet:
    """The set of a seed: C from 1 to 50 in turn, every fiftieth of one of `LARGE`; N from 1 to 400."""
    g = np.random.default_rng(seed)
    classes = LARGE[seed // 50 % len(LARGE)] if seed % 50 == 49 else seed % 50 + 1
    n = int(g.integers(1, 400))
    counts = np.where(g.random(classes) < 0.3, g.choice(EDGES, classes), np.exp(g.uniform(0, 7.5, classes)).astype(int))
    counts[0] += not counts.any()

    def answered(samples: int) -> tuple[np.ndarray, np.ndarray]:
        share = g.random(classes) ** 3 * (g.random(classes) < 0.8) + 1e-12  # a fifth of the classes hardly ever occurs
        labels = g.choice(classes, samples, p=share / share.sum())
        single = g.permutation(classes)[: max(classes // 5, 1)]
        for c in single[: samples // 2]:  # one sample, or none where it is replaced by the next
            labels[labels == c] = labels[0]
            labels[int(g.integers(samples))] = c
        logits = g.normal(size=(samples, classes)) + g.uniform(0, 3) * np.eye(classes)[labels]
        logits[:, g.random(classes) < 0.25] -= 20  # never predicted
        return logits, labels

    logits, labels = answered(n)
    train_logits, train_labels = answered(n + 50)
    ignored = g.random(n) < (0.1 if seed % 3 == 0 else 0)
    ignored[int(g.integers(n))] = False  # a set without a label is refused, by name
    several = min(classes, 40)
    scores = np.round(g.normal(size=(n, several)), int(g.integers(0, 4)))  # few levels: ties
    targets = g.random((n, several)) < g.random(several) ** 2 * (g.random(several) < 0.8)
    return LabelSet(
        labels=torch.from_numpy(np.where(ignored, IGNORE, labels)).long(),
        logits=torch.from_numpy(logits),
        counts=torch.from_numpy(counts).long(),
        train=(torch.from_numpy(train_logits.argmax(1)), torch.from_numpy(train_labels)),
        scores=torch.from_numpy(scores),
        targets=torch.from_numpy(targets).long(),
    )
