"""`TailwiseClassifier`: scikit-learn's own checks, its tools around it, priors, weights, and several labels per row."""

import importlib
import pickle
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy.sparse import csr_matrix
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
from tailwise.losses import BinaryCrossEntropy, CrossEntropy, LogitAdjusted
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


@pytest.mark.slow
@parametrize_with_checks(
    [TailwiseClassifier(name, **QUICK) for name in ("CrossEntropy", "GML", "Asymmetric")],
    expected_failed_checks=lambda _: EXCUSED,
)
def test_so_do_other_objectives(estimator: TailwiseClassifier, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(
    ("objective", "several"),
    [
        (None, True),
        ("Asymmetric", True),
        (BinaryCrossEntropy, True),
        (partial(BinaryCrossEntropy, tau=1.0), True),
        ("CrossEntropy", False),
        (losses.GML, False),
        ("no such name", False),
        (3, False),
    ],
)
def test_the_tag_says_whether_the_objective_takes_several_labels(objective: Any, several: bool) -> None:
    assert TailwiseClassifier(objective).__sklearn_tags__().classifier_tags.multi_label is several


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
    known = quick().fit(VALUES, LABELS).predict_proba(VALUES)
    for factor in (1e300, 1e-300):  # the squares of which are inf and 0
        np.testing.assert_allclose(quick().fit(VALUES * factor, LABELS).predict_proba(VALUES * factor), known, atol=1e-9)
    constant = np.hstack([moved, np.full((len(moved), 1), 0.1)])
    np.testing.assert_allclose(known, quick().fit(moved, LABELS).predict_proba(moved), atol=1e-3)
    assert quick().fit(constant, LABELS).score(constant, LABELS) > 0.8


def test_values_beyond_what_floats_hold_are_refused() -> None:
    far = VALUES.copy()
    far[:, 2] = 1.7e308
    far[0, 2] = -1.7e308
    with pytest.raises(TailwiseError, match="column 2 of X has a range beyond"):
        quick().fit(far, LABELS)
    fitted = quick().fit(VALUES, LABELS)
    with np.errstate(over="ignore"), pytest.raises(TailwiseError, match="some logits are not finite"):
        fitted.predict(np.full((1, 13), 1.7e308))


def test_training_that_diverges_is_told() -> None:
    for options in {}, {"patience": 2}, {"epochs": 1, "learning_rate": 1e39}:  # the last step is looked at too
        with pytest.raises(TailwiseError, match=r"training diverged in epoch .* lower the learning_rate, 1e"):
            quick(**{"epochs": 20, "learning_rate": 1e20, **options}).fit(VALUES, LABELS)
    with pytest.warns(UserWarning, match=r"the loss rose from 1.* lower the learning_rate, 10$"):
        quick(learning_rate=10.0).fit(VALUES, LABELS)


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


def test_hidden_layers_are_those_asked_for() -> None:
    fitted = quick(hidden=(), epochs=30).fit(VALUES, LABELS)
    (weight,) = (p for p in fitted.network_.parameters() if p.ndim == 2)
    assert [layer[0].out_features for layer in quick(hidden=np.int64(9), epochs=1).fit(VALUES, LABELS).network_.backbone] == [9]
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
        quick(epochs=1, prior=prior).fit(VALUES, LABELS)
    fitted = quick(epochs=1).fit(VALUES, LABELS).set_params(prior=prior)
    with pytest.raises(TailwiseError, match="prior"):
        fitted.predict(VALUES)


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


BALANCED = {0: 1 / 20, 1: 1 / 71, 2: 1 / 5}


@pytest.mark.parametrize(
    ("objective", "weights", "told"),
    [
        ("LogitAdjusted", "balanced", True),
        ("LogitAdjusted", BALANCED, True),
        ("LDAM", "balanced", True),  # re-weights in the last epochs
        ("ClassBalanced", {0: 3.0, 1: 1.0, 2: 10.0}, True),
        ("LogitAdjusted", {0: 2.0}, False),
        ("CrossEntropy", "balanced", False),
        ("BinaryCrossEntropy", BALANCED, False),
        (partial(BinaryCrossEntropy, tau=1.0), BALANCED, True),
    ],
)
def test_a_correction_that_is_applied_twice_is_told(objective: Any, weights: Any, told: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quick(objective, class_weight=weights).fit(VALUES[TAIL], LABELS[TAIL])
    assert ["applied twice" in str(warning.message) for warning in caught] == [True] * told


def test_sigmoids_of_one_label_per_row_are_divided_by_their_sum() -> None:
    train = log_prior(torch.tensor([20, 71, 5])).numpy()
    for name, options in (("BinaryCrossEntropy", {}), ("BinaryCrossEntropy", {"tau": 1.0}), ("Asymmetric", {})):
        fitted = quick(name, options=options, epochs=30).fit(VALUES[TAIL], LABELS[TAIL])
        with torch.no_grad():
            bare = fitted.network_(torch.from_numpy((VALUES - fitted.mean_) / fitted.scale_)[None]).logits[0]
        chances = bare.sigmoid().numpy()
        np.testing.assert_allclose(fitted.predict_proba(VALUES), chances / chances.sum(1, keepdims=True))
        carried = fitted.carried_log_prior_
        if name == "BinaryCrossEntropy":
            np.testing.assert_allclose(carried, [np.log(0.5)] * 3 if options else train, atol=1e-5)
        moved = fitted.set_params(prior="train").predict_proba(VALUES)
        expected = chances * np.exp(train - carried)
        np.testing.assert_allclose(moved, expected / expected.sum(1, keepdims=True), atol=1e-9)


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


def test_a_partial_gets_the_number_of_rows_as_its_class_does() -> None:
    values, labels = make_multilabel_classification(100, n_classes=3, random_state=0)
    by_class = quick(BinaryCrossEntropy, options={"tau": 0.5}).fit(values, labels)
    for again in (
        quick(partial(BinaryCrossEntropy, tau=0.5)),
        quick(partial(BinaryCrossEntropy, tau=3.0), options={"tau": 0.5}),
    ):
        again.fit(values, labels)
        np.testing.assert_array_equal(again.carried_log_prior_, by_class.carried_log_prior_)
        np.testing.assert_array_equal(again.predict_proba(values), by_class.predict_proba(values))
    own = quick(partial(BinaryCrossEntropy, samples=1000)).fit(values, labels)
    np.testing.assert_allclose(own.carried_log_prior_, np.log(labels.sum(0) / (1000 - labels.sum(0))), atol=1e-5)


def test_a_class_of_nearly_all_rows_keeps_its_probability_under_the_prior_of_y() -> None:
    values, labels = make_multilabel_classification(100, n_classes=3, random_state=0)
    labels[:, 0] = np.arange(100) > 0
    free, train = (quick("Asymmetric", prior=prior).fit(values, labels).predict_proba(values) for prior in (None, "train"))
    np.testing.assert_allclose(train[:, 0], free[:, 0], atol=1e-6)


def test_indicators_have_two_values_and_may_have_names() -> None:
    values, labels = make_multilabel_classification(60, n_classes=3, random_state=0)
    for wrong in (2 * labels - 1, labels + 1, 5 * labels):
        with pytest.raises(TailwiseError, match=r"y \(N, 3\) has the values .*; give 1 where a row has a label, else 0"):
            quick().fit(values, wrong)
    for same in (labels.astype(bool), labels.astype(float), csr_matrix(labels), pd.DataFrame(labels)):
        fitted = quick(epochs=1).fit(values, same)
        assert fitted.class_counts_.tolist() == labels.sum(0).tolist()
        assert fitted.classes_.tolist() == [0, 1, 2]
    named = pd.DataFrame(labels, columns=["ape", "elk", "fox"])
    assert quick(epochs=1).fit(values, named).classes_.tolist() == ["ape", "elk", "fox"]
    judged = named if int(sklearn.__version__.split(".")[1]) >= 9 else labels  # before, its scorers look for a class 1
    scores = cross_val_score(quick(), values, judged, cv=2, scoring="average_precision", error_score="raise")
    assert scores.min() > 0.6


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
        ({"objective": 3}, "objective is of type int"),
        ({"objective": losses.Contrastive}, "objective is Contrastive"),
        ({"objective": torch.nn.CrossEntropyLoss}, "objective is CrossEntropyLoss"),
        ({"objective": torch.nn.CrossEntropyLoss()}, "objective is of type CrossEntropyLoss"),
        ({"objective": "VS", "options": {"gama": 1.0}}, "VS: no option 'gama'; did you mean gamma"),
        ({"options": 3}, "options is 3; give a dict"),
        ({"options": {"class_counts": [1, 2, 3]}}, "options has 'class_counts', which comes from X and y"),
        ({"hidden": (0,)}, "hidden is"),
        ({"hidden": 2.5}, "hidden is 2.5"),
        ({"hidden": "128"}, "hidden is '128'"),
        ({"epochs": 5.5}, "epochs is 5.5; give a whole number"),
        ({"epochs": True}, "epochs is True"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'; give a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"patience": 0}, "patience is 0; give None or"),
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
        assert door.settled(factor, load, range(1)) in door.GRID
        scores = door.compare(factor, load, range(1), door.models(0.01).values())
        assert scores.shape == (7, 1)
        assert scores.min() > 40
        assert scores.max() <= 100
        assert door.mean(np.array([1.0, 2.0, 6.0])) == "3.0 ± 2.6"
        ours = np.array([2.0, 4.0, 6.0])
        assert door.gain(np.array([1.0, 2.0, 6.0]), ours) == "+1.0 ± 0.6 (2 + 1 tied of 3)"
        assert door.gain(ours - 1, ours) == "+1.0 ± 0.0 (3 of 3)"
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
            del sys.modules[name]
