"""`TailwiseClassifier`: scikit-learn's own checks, its tools around it, priors, weights, and several labels per row."""

import importlib
import pickle
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine, make_multilabel_classification
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tailwise import losses
from tailwise.counts import log_prior
from tailwise.integrations.rows import Loop, RowNetwork, Rows
from tailwise.integrations.sklearn import TailwiseClassifier
from tailwise.losses import CrossEntropy, LogitAdjusted
from tailwise.task import Task
from tailwise.types import TailwiseError

EXCUSED: dict[str, str] = {}
"""Checks that may fail, and why: none does. Scikit-learn itself skips array namespaces, unless SCIPY_ARRAY_API is set."""

QUICK: dict[str, Any] = {"epochs": 10, "learning_rate": 0.05, "hidden": (16,), "dropout": 0.0, "noise": 0.0, "batch_size": 1000}
VALUES, LABELS = load_wine(return_X_y=True)
TAIL = np.concatenate([np.flatnonzero(LABELS == 1), np.flatnonzero(LABELS == 0)[:20], np.flatnonzero(LABELS == 2)[:5]])


def quick(objective: Any = None, **options: Any) -> TailwiseClassifier:
    return TailwiseClassifier(objective, **{**QUICK, "random_state": 0, **options})


@parametrize_with_checks(
    [TailwiseClassifier(**QUICK)], expected_failed_checks=lambda _: EXCUSED
)  # fewer epochs than by default, for time alone
def test_it_keeps_the_rules_of_scikit_learn(estimator: TailwiseClassifier, check: Any) -> None:
    check(estimator)


def test_search_validation_pipeline_clone_and_pickle() -> None:
    search = GridSearchCV(
        make_pipeline(StandardScaler(), quick(epochs=4)),
        {
            "tailwiseclassifier__options": [{"tau": 0.0}, {"tau": 1.0}],
            "tailwiseclassifier__objective": ["LogitAdjusted", partial(LogitAdjusted)],
        },
        cv=2,
        scoring="balanced_accuracy",
    ).fit(VALUES, LABELS)
    assert search.best_score_ > 0.5
    assert cross_val_score(quick(), VALUES, LABELS, cv=2).min() > 0.8
    fitted = quick().fit(VALUES, LABELS)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(VALUES), fitted.predict_proba(VALUES))
    np.testing.assert_array_equal(clone(fitted).fit(VALUES, LABELS).predict_proba(VALUES), fitted.predict_proba(VALUES))


def test_a_data_frame_names_its_columns() -> None:
    frame = pd.DataFrame(VALUES, columns=[f"c{i}" for i in range(VALUES.shape[1])])
    fitted = quick().fit(frame, pd.Series(LABELS).map({0: "a", 1: "b", 2: "c"}))
    assert fitted.feature_names_in_.tolist() == frame.columns.tolist()
    assert fitted.classes_.tolist() == ["a", "b", "c"]
    assert set(fitted.predict(frame)) <= {"a", "b", "c"}
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[frame.columns[::-1]])


def test_the_seed_is_all_and_the_generators_are_left_alone() -> None:
    options = {"dropout": 0.5, "noise": 0.5, "batch_size": 32}
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = quick(**options).fit(VALUES, LABELS)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    np.testing.assert_array_equal(
        first.decision_function(VALUES), quick(**options).fit(VALUES, LABELS).decision_function(VALUES)
    )
    other = quick(**options, random_state=1).fit(VALUES, LABELS)
    assert not np.allclose(first.decision_function(VALUES), other.decision_function(VALUES))


def test_columns_are_standardised_whatever_their_unit() -> None:
    moved = VALUES * np.logspace(-6, 6, VALUES.shape[1]) + 1e3
    constant = np.hstack([moved, np.full((len(moved), 1), 0.1)])
    plain, shifted = quick().fit(VALUES, LABELS), quick().fit(moved, LABELS)
    np.testing.assert_allclose(plain.predict_proba(VALUES), shifted.predict_proba(moved), atol=1e-3)
    assert quick().fit(constant, LABELS).score(constant, LABELS) > 0.8


@pytest.mark.parametrize("name", ["VS", "LDAM", "Focal", "BCL", "GML", "PaCo", "RIDE", "BinaryCrossEntropy"])
def test_objectives_by_name_get_the_counts_of_y_and_as_many_views_as_they_want(name: str) -> None:
    fitted = quick(name, epochs=20, noise=0.1, masking=0.1).fit(VALUES[TAIL], LABELS[TAIL])
    assert fitted.class_counts_.tolist() == [20, 71, 5]
    assert fitted.score(VALUES, LABELS) > 0.5  # 0.4 is the most frequent class
    assert fitted.network_.classifier.scale == (30.0 if getattr(losses, name).classifier == "cosine" else 1.0)


def test_views_of_a_row_differ_by_noise_and_masking() -> None:
    seen: list[torch.Tensor] = []

    class Looks(losses.SupCon):
        def forward(self, out: Any, batch: Any) -> dict[str, torch.Tensor]:
            seen.append(batch.views)
            return super().forward(out, batch)

    quick(Looks, epochs=1, noise=0.5, masking=0.25).fit(VALUES, LABELS)
    (views,) = seen
    assert views.shape == (3, *VALUES.shape)
    assert float((views == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    noise = (views[0] - views[1])[(views[0] != 0) & (views[1] != 0)]
    assert float(noise.std()) == pytest.approx(0.5 * 2**0.5, abs=0.03)
    seen.clear()
    quick(Looks, epochs=1).fit(VALUES, LABELS)
    assert torch.equal(seen[0][0], seen[0][1])


def test_a_linear_model_has_no_hidden_layer() -> None:
    fitted = quick(hidden=(), epochs=30).fit(VALUES, LABELS)
    (weight,) = (p for p in fitted.network_.parameters() if p.ndim == 2)
    expected = (VALUES - fitted.mean_) / fitted.scale_ @ weight.numpy().T + fitted.network_.classifier.bias.numpy()
    np.testing.assert_allclose(fitted.decision_function(VALUES), expected)


def test_priors_are_reached_from_what_the_objective_carries() -> None:
    train = log_prior(torch.tensor([20, 71, 5])).numpy()
    given = np.array([0.7, 0.1, 0.2])
    for objective, carried in ((CrossEntropy, train), (LogitAdjusted, np.zeros(3))):
        fitted = quick(objective).fit(VALUES[TAIL], LABELS[TAIL])
        bare = fitted.decision_function(VALUES)
        np.testing.assert_allclose(fitted.carried_log_prior_, carried, atol=1e-6)
        for prior, target in (("uniform", np.zeros(3)), ("train", train), (given, np.log(given))):
            moved = fitted.set_params(prior=prior).decision_function(VALUES)
            np.testing.assert_allclose(moved, bare - carried + target, atol=1e-5)
            proba = fitted.predict_proba(VALUES)
            np.testing.assert_allclose(proba, np.exp(moved) / np.exp(moved).sum(1, keepdims=True))
            np.testing.assert_array_equal(fitted.predict(VALUES), proba.argmax(1))


@pytest.mark.parametrize("prior", ["test", [0.5, 0.5], [0.5, 0.6, 0.1], [1.5, -0.5, 0.0], ["a", "b", "c"]])
def test_priors_that_are_none_are_refused(prior: Any) -> None:
    with pytest.raises(TailwiseError, match="prior"):
        quick(epochs=1, prior=prior).fit(VALUES, LABELS).predict(VALUES)


def test_class_weight_draws_and_carries() -> None:
    seen: list[int] = []

    class Counts(CrossEntropy):
        def forward(self, out: Any, batch: Any) -> dict[str, torch.Tensor]:
            seen.extend(batch.labels.tolist())
            return super().forward(out, batch)

    fitted = quick(Counts, epochs=1, class_weight="balanced").fit(VALUES[TAIL], LABELS[TAIL])
    assert np.bincount(seen).tolist() == [32, 32, 32]  # an epoch of 96 rows
    carried = fitted.carried_log_prior_
    np.testing.assert_allclose(carried - carried[0], 0, atol=1e-6)
    seen.clear()
    fitted = quick(Counts, epochs=1, class_weight={0: 3.55}).fit(VALUES[TAIL], LABELS[TAIL])
    assert np.bincount(seen).tolist() == [47, 46, 3]  # 20 · 3.55 = 71 against 71 and 5
    assert quick(Counts, class_weight={2: 1e4}).fit(VALUES[TAIL], LABELS[TAIL]).predict(VALUES).tolist().count(2) > 100


def test_a_correction_that_would_be_applied_twice_is_told() -> None:
    with pytest.warns(UserWarning, match="LogitAdjusted corrects for their frequencies: the correction is applied twice"):
        quick(epochs=1, class_weight="balanced").fit(VALUES, LABELS)


def test_patience_stops_and_keeps_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[tuple[int, torch.Tensor]] = []
    told = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.0])

    def judge(loop: Loop, task: Task, held: Rows) -> float:
        judged.append((len(held.values), task.model.classifier.weight.detach().double()))
        return next(told)

    monkeypatch.setattr(Loop, "judged", judge)
    fitted = quick(epochs=60, patience=3).fit(VALUES, LABELS)
    assert fitted.losses_ == [3, 1, 2, 2, 2]
    assert fitted.n_iter_ == 5
    assert judged[0][0] == 6 + 7 + 5  # a tenth of each class
    assert torch.equal(fitted.network_.classifier.weight, judged[1][1])
    monkeypatch.undo()
    noisy = np.random.default_rng(0).permutation(LABELS)
    assert quick(epochs=60, patience=3).fit(VALUES, noisy).n_iter_ < 60
    with pytest.raises(TailwiseError, match="no class has two rows"):
        quick(patience=3).fit(VALUES[:3], ["a", "b", "c"])


@pytest.mark.parametrize("objective", [None, "Asymmetric", "DistributionBalanced"])
def test_several_labels_per_row(objective: str | None) -> None:
    values, labels = make_multilabel_classification(300, n_classes=5, random_state=0)
    fitted = quick(objective, epochs=30).fit(values, labels)
    assert fitted.samples_ == 300
    assert fitted.class_counts_.tolist() == labels.sum(0).tolist()
    proba = fitted.predict_proba(values)
    assert proba.shape == fitted.decision_function(values).shape == labels.shape
    assert average_precision_score(labels, proba) > 0.75
    np.testing.assert_array_equal(fitted.predict(values), proba > 0.5)
    carried = fitted.carried_log_prior_
    moved = fitted.set_params(prior="uniform").decision_function(values)
    np.testing.assert_allclose(moved, np.log(proba / (1 - proba)) - carried, atol=1e-5)
    rare = fitted.set_params(prior=[0.01] * 5).decision_function(values)
    np.testing.assert_allclose(rare, moved + np.log(0.01 / 0.99), atol=1e-5)
    if objective is None:
        odds = np.log(labels.sum(0) / (300 - labels.sum(0)))
        np.testing.assert_allclose(carried, odds, atol=1e-5)
        train = fitted.set_params(prior="train").decision_function(values)
        np.testing.assert_allclose(train, moved + odds, atol=1e-5)


def test_a_label_that_no_row_has_is_never_predicted() -> None:
    values, labels = make_multilabel_classification(100, n_classes=3, random_state=0)
    labels[:, 1] = 0
    fitted = quick(prior="uniform").fit(values, labels)
    assert fitted.predict(values)[:, 1].sum() == 0
    assert fitted.predict_proba(values)[:, 1].tolist() == [0.0] * 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "LogitAdjust"}, "did you mean 'LogitAdjusted'"),
        ({"objective": "focal"}, "did you mean 'Focal'"),
        ({"options": {"tau": -1.0}}, "tau"),
        ({"hidden": (0,)}, "hidden is"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"class_weight": {0: -1.0}}, "class_weight is not positive"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TailwiseError, match=message):
        quick(**options).fit(VALUES, LABELS)


def test_one_label_per_row_objectives_refuse_indicators() -> None:
    values, labels = make_multilabel_classification(20, random_state=0)
    with pytest.raises(TailwiseError, match="CrossEntropy takes one label per row"):
        quick("CrossEntropy").fit(values, labels)
    with pytest.raises(TailwiseError, match="class_weight is for one label per row"):
        quick(class_weight="balanced").fit(values, labels)


def test_a_network_of_rows_is_a_model() -> None:
    network = RowNetwork(3, 4, (6, 5), "linear", 0.0)
    out = network(torch.randn(2, 7, 3))
    assert (network.dim, network.classes) == (5, 4)
    assert out.logits.shape == (2, 7, 4)
    assert out.features.shape == (2, 7, 5)
    assert out.classifier.shape == (4, 5)


def test_the_comparison_with_logistic_regression_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    door = importlib.import_module("benchmarks.sklearn_door")
    try:
        factor, load = door.SETS["wine, factor 20"]
        (values, labels), (rest, _) = door.split(load(0), factor, 0)
        assert sorted(np.bincount(labels)) == [1, 8, 36]
        assert not {row.tobytes() for row in values} & {row.tobytes() for row in rest}
        pairs = door.compare(factor, load, range(2), epochs=2)
        assert all(0 <= value <= 1 for pair in pairs for value in pair)
        assert door.row("wine", pairs).count("|") == 6
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
            del sys.modules[name]
