"""`TailwiseClassifier` as it comes against logistic regression with ``class_weight="balanced"``, on four data sets.

`python -m benchmarks.sklearn_door` prints the tables of docs/sklearn.md: balanced accuracy in percent over seeds 0 to 4, and
over 0 to 24. A seed draws the split: half of every class is for the test, and the other half is made long-tailed, the most
frequent class first; all models see columns of mean 0 and deviation 1.
"""

import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tailwise.counts import count_labels
from tailwise.data.longtail import largest_fitting, profile
from tailwise.integrations.sklearn import TailwiseClassifier

SEEDS = 5, 25
SETTLE = range(100, 106)
"""Seeds of the splits on which defaults were settled."""
GRID = np.logspace(-3, 2, 6)
"""C of logistic regression."""
Table = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
Model = Callable[[int], BaseEstimator]
"""A classifier for a seed."""


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
"""Imbalance factor, and what loads the table for a seed."""


def logistic(C: float) -> BaseEstimator:
    """On standardised columns."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=10_000))


def tuned(seed: int) -> BaseEstimator:
    """C by cross-validation on the training half, for balanced accuracy."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return GridSearchCV(logistic(1.0), {"logisticregression__C": GRID}, scoring="balanced_accuracy", cv=folds)


def settled(factor: float, load: Callable[[int], Table], seeds: Iterable[int] = SETTLE) -> float:
    """The C that is best for this data set on the test halves of the splits where our defaults were settled."""
    scores = compare(factor, load, seeds, [lambda _, C=C: logistic(C) for C in GRID])
    return float(GRID[np.mean(scores, axis=1).argmax()])


def models(C: float) -> dict[str, Model]:
    """Who takes part, given the settled C; the last is compared with all others."""
    return {
        "logistic regression, C = 1": lambda _: logistic(1.0),
        "logistic regression, C by cross-validation": tuned,
        "logistic regression, C settled for the data set": lambda _: logistic(C),
        "RBF-SVC": lambda _: make_pipeline(StandardScaler(), SVC(class_weight="balanced")),
        "our network, `CrossEntropy`, balanced": lambda seed: TailwiseClassifier(
            "CrossEntropy", class_weight="balanced", random_state=seed
        ),
        "our network, `CrossEntropy`, uniform prior": lambda seed: TailwiseClassifier(
            "CrossEntropy", prior="uniform", random_state=seed
        ),
        "`TailwiseClassifier`": lambda seed: TailwiseClassifier(random_state=seed),
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


def compare(factor: float, load: Callable[[int], Table], seeds: Iterable[int], models: Iterable[Model]) -> NDArray[np.float64]:
    """Balanced accuracies in percent: (models, seeds)."""
    makers, scores = list(models), []
    for seed in seeds:
        train, (values, truth) = split(load(seed), factor, seed)
        with warnings.catch_warnings():  # scikit-learn tells of every fold that lacks a class of one row
            warnings.simplefilter("ignore", UserWarning)
            fitted = [make(seed).fit(*train) for make in makers]
        scores.append([100 * balanced_accuracy_score(truth, model.predict(values)) for model in fitted])
    return np.array(scores).T


def mean(values: NDArray[np.float64]) -> str:
    """With the standard deviation over seeds."""
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


def gain(values: NDArray[np.float64], ours: NDArray[np.float64]) -> str:
    """By how much ours is better: the mean, its standard error over seeds, and in how many seeds it wins and ties."""
    better = ours - values
    wins, ties = int((better > 1e-9).sum()), int((abs(better) <= 1e-9).sum())
    error = better.std(ddof=1) / len(better) ** 0.5
    return f"{better.mean():+.1f} ± {error:.1f} ({wins}{f' + {ties} tied' if ties else ''} of {len(better)})"


def main() -> None:
    """Print the tables, once all is known."""
    torch.set_num_threads(1)
    scores = []
    for name, (factor, load) in SETS.items():
        best = settled(factor, load)
        print(f"{name}: settled C = {best:g}", flush=True)
        scores.append(compare(factor, load, range(max(SEEDS)), models(best).values()))
    for seeds in SEEDS:
        few = [of_set[:, :seeds] for of_set in scores]
        for title in f"{seeds} seeds", f"ours minus theirs, {seeds} seeds":
            print(f"\n| {title} | {' | '.join(SETS)} |\n|---{'|---' * len(SETS)}|")
            for i, name in enumerate(models(1.0)):
                cells = [gain(of[i], of[-1]) if "minus" in title else mean(of[i]) for of in few]
                if "minus" not in title or i < len(few[0]) - 1:
                    print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
