"""`TailwiseClassifier` as it comes against logistic regression with ``class_weight="balanced"``, on four data sets.

`python -m benchmarks.sklearn_door` prints the table of docs/sklearn.md: balanced accuracy in percent over five seeds. A seed
draws the split: half of every class is for the test, and the other half is made long-tailed, the most frequent class
first; both see columns of mean 0 and deviation 1. The classifier has its defaults, which were settled on seeds from 100 on.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tailwise.counts import count_labels
from tailwise.data.longtail import largest_fitting, profile
from tailwise.integrations.sklearn import TailwiseClassifier

SEEDS = range(5)
Table = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def synthetic(seed: int) -> Table:
    """20 classes of two clusters each in 40 columns, of which 20 say something and 10 repeat them."""
    columns = {"n_features": 40, "n_informative": 20, "n_redundant": 10, "class_sep": 1.5}
    values, labels = make_classification(20_000, n_classes=20, n_clusters_per_class=2, random_state=seed, **columns)
    return values, labels


SETS: dict[str, tuple[float, Callable[[int], Table]]] = {
    "digits, factor 20": (20, lambda _: load_digits(return_X_y=True)),
    "wine, factor 20": (20, lambda _: load_wine(return_X_y=True)),
    "breast cancer, factor 20": (20, lambda _: load_breast_cancer(return_X_y=True)),
    "make_classification, 20 classes, factor 100": (100, synthetic),
}


def split(table: Table, factor: float, seed: int) -> tuple[Table, Table]:
    """A long-tailed half for training, and the other half as it is."""
    values, test, labels, truth = train_test_split(*table, test_size=0.5, stratify=table[1], random_state=seed)
    available = count_labels(torch.from_numpy(labels), len(np.unique(labels)))
    order = torch.argsort(available, descending=True, stable=True)
    wanted = profile(largest_fitting(available[order], factor), len(order), factor)
    draw = np.random.default_rng(seed)
    of_class = [draw.permutation(np.flatnonzero(labels == c))[:n] for c, n in zip(order.tolist(), wanted.tolist(), strict=True)]
    kept = np.concatenate(of_class)
    return (values[kept], labels[kept]), (test, truth)


def compare(factor: float, load: Callable[[int], Table], seeds: Sequence[int], **options: Any) -> list[tuple[float, float]]:
    """Balanced accuracies of logistic regression and of ours, a pair for each seed."""
    pairs = []
    for seed in seeds:
        train, (values, truth) = split(load(seed), factor, seed)
        logistic = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=10_000))
        both = logistic, TailwiseClassifier(random_state=seed, **options)
        first, second = (balanced_accuracy_score(truth, model.fit(*train).predict(values)) for model in both)
        pairs.append((first, second))
    return pairs


def row(name: str, pairs: Sequence[tuple[float, float]]) -> str:
    """A line of the table: means with the standard deviation over seeds, and the difference of each seed."""
    cells = [name]
    for values in zip(*pairs, strict=True):
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells.append(f"{100 * statistics.mean(values):.1f} ± {100 * spread:.1f}")
    gains = [100 * (ours - theirs) for theirs, ours in pairs]
    cells += [f"{statistics.mean(gains):+.1f}", " ".join(f"{gain:+.1f}" for gain in gains)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table, a row as soon as it is known."""
    torch.set_num_threads(1)
    print("| data | logistic regression, balanced | TailwiseClassifier | difference | of each seed |")
    print("|---|---|---|---|---|")
    for name, (factor, load) in SETS.items():
        print(row(name, compare(factor, load, SEEDS)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
