"""`TailwiseClassifier`: any objective of tailwise as a scikit-learn classifier of feature rows.

Shapes: N rows, F columns, C classes. For embeddings and tables of numbers; images and pixels have ``tailwise fit``.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from tailwise.data.samplers import Sampler, Shuffled
from tailwise.data.split import hold_out
from tailwise.integrations.parameters import (
    check_numbers,
    check_options,
    find_objective,
    inside,
    layer_widths,
    takes_indicators,
)
from tailwise.integrations.rows import Loop, RowNetwork, Rows, Weighted, unit
from tailwise.integrations.target import Prior, target_log_prior
from tailwise.losses import MultiLabel, Objective
from tailwise.losses.binary_cross_entropy import log_odds
from tailwise.priors import adjust
from tailwise.task import Task
from tailwise.types import TailwiseError

Array = NDArray[Any]


class TailwiseClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A small network on standardised feature rows, trained by an objective of tailwise.

    - ``objective``: the name of a class in `tailwise.losses`, such a class, or a callable of (counts, model). By default
      `LogitAdjusted`, for an indicator matrix y `BinaryCrossEntropy`. It gets the class counts of y.
    - ``options``: its keyword arguments, as in ``{"tau": 1.5}``.
    - ``hidden``: widths of the hidden layers, a number of a single one; ``()`` is a linear model.
    - ``dropout``: share of hidden units left out in a step, [0, 1).
    - ``epochs``, ``batch_size``, ``learning_rate``: of AdamW, whose rate falls to 0 along a cosine. An epoch shows every row
      once, a ``batch_size`` of N or more all of them at once.
    - ``weight_decay``: of AdamW in full batches; of N rows in smaller ones batch_size / N times as much, so that an epoch
      decays weights by as much, however many steps it has.
    - ``noise``, ``masking``: a view of a row is the row + ``noise`` · N(0, 1), in standard deviations of each column, with a
      share ``masking`` of the columns at their mean; an objective of several views gets as many, drawn independently.
    - ``patience``: None trains all epochs. A number holds out ``validation_fraction`` of the rows (of each class, where a
      class has two), stops so many epochs after their loss was lowest, and keeps the weights of that epoch.
    - ``class_weight``: None, "balanced", or a dict from class to weight > 0. A row of class c is drawn w_c times as often,
      and counts as w_c rows in the prior that the model carries; the counts of the objective stay those of y. Weights that
      balance the classes warn with an objective that corrects for their frequencies too.
    - ``prior``: the class distribution for which predictions are made. None leaves what was trained: uniform for
      `LogitAdjusted`, that of y (times class_weight) for `CrossEntropy`. "uniform", "train" (of y, without class_weight), or
      probabilities (C,) are reached by `priors.adjust`, from what the objective carries.
    - ``random_state``: the whole of the fit follows from it.

    Of several labels per row, y (N, C) an indicator matrix of 0 and 1, the objective must be a `MultiLabel`; a prior is then
    a probability per class, "uniform" ½ for each, and `predict` gives an indicator matrix. Of one label per row a
    `MultiLabel` has a sigmoid for each class against the rest, and the C sigmoids are divided by their sum.

    Attributes: ``classes_`` (of a data frame y the names of its columns, of an indicator array 0..C-1), ``class_counts_``
    (C,), ``samples_`` N, ``n_features_in_``, ``feature_names_in_`` (of a data frame X), ``network_`` (eval mode, float64),
    ``mean_`` and ``scale_`` of the columns, ``carried_log_prior_`` (C,), ``losses_`` (one per epoch), ``n_iter_`` epochs.
    `TailwiseError`, a ValueError, for parameters and data that make no sense, and for training that diverges.
    """

    def __init__(
        self,
        objective: str | Callable[..., Objective] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        hidden: int | Sequence[int] = (128,),
        dropout: float = 0.5,
        epochs: int = 100,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        weight_decay: float = 5.0,
        noise: float = 0.5,
        masking: float = 0.0,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        prior: Prior = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.objective = objective
        self.options = options
        self.hidden = hidden
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.noise = noise
        self.masking = masking
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.prior = prior
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> "TailwiseClassifier":
        """Train on rows X (N, F) and labels y (N,), or an indicator matrix (N, C)."""
        check_numbers(self.get_params(deep=False))
        names = getattr(y, "columns", None)
        values, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        labels = self._labels(y, names)
        self._target()
        self.mean_, self.scale_ = unit(values)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._train(Rows(self._standard(values).float(), labels), seed)
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Logits under ``prior``: (N, C); of two classes the difference (N,) in favour of the second."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if self._binary() else logits

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities (N, C) under ``prior``; of several labels per row, one for each label."""
        logits = torch.from_numpy(self._logits(X))
        return (logits.sigmoid() if self.multilabel_ else logits.softmax(1)).numpy()

    def predict(self, X: ArrayLike) -> Array:
        """The likeliest class (N,) under ``prior``; of several labels an indicator (N, C) of those above one half."""
        logits = self._logits(X)
        return (logits > 0).astype(np.int64) if self.multilabel_ else cast(Array, self.classes_[logits.argmax(1)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = takes_indicators(self.objective)
        tags.non_deterministic = False
        return tags

    def _labels(self, y: Any, names: Any) -> Tensor:
        """Labels (N,) int64 or (N, C) float32; sets what is known of the classes, given the names of the columns of y."""
        self.samples_ = len(y) if not issparse(y) else y.shape[0]
        check_classification_targets(y)
        self.multilabel_ = type_of_target(y) == "multilabel-indicator"
        if self.multilabel_:
            y = np.asarray(y.toarray() if issparse(y) else y)
            if not np.isin(y, (0, 1)).all():
                found = ", ".join(map(str, np.unique(y)))
                raise TailwiseError(
                    f"TailwiseClassifier: y (N, {y.shape[1]}) has the values {found}; give 1 where a row has a label, else 0"
                )
            named = names is not None and all(isinstance(name, str) for name in names)
            self.classes_ = np.array(names, dtype=object) if named else np.arange(y.shape[1])
            self.class_counts_ = y.astype(np.int64).sum(0)
            if self.class_weight is not None:
                raise TailwiseError("TailwiseClassifier: class_weight is for one label per row; leave it None")
            self.class_weight_ = np.ones(y.shape[1])
            return torch.from_numpy(y.astype(np.float32))
        y = column_or_1d(y, warn=True)
        self.classes_, of_row, self.class_counts_ = np.unique(y, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:
            raise TailwiseError("TailwiseClassifier: y has 1 class; a classifier needs at least 2 classes")
        self.class_weight_ = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        if not (self.class_weight_ > 0).all():
            raise TailwiseError("TailwiseClassifier: a class_weight is not positive; leave the rows of such a class out")
        return torch.from_numpy(of_row.astype(np.int64))

    def _build(self) -> Task:
        """The network and its objective, weights drawn from torch's generator."""
        default = "BinaryCrossEntropy" if self.multilabel_ else "LogitAdjusted"
        make = find_objective(default if self.objective is None else self.objective)
        kind = str(getattr(inside(make), "classifier", "linear"))
        network = RowNetwork(len(self.mean_), len(self.classes_), layer_widths(self.hidden), kind, self.dropout)
        given = {**getattr(make, "keywords", {}), **check_options(self.options)}
        if takes_indicators(make):
            given.setdefault("samples", self.samples_)
        objective = make(torch.from_numpy(self.class_counts_), network, **given)
        if self.multilabel_ and not isinstance(objective, MultiLabel):
            raise TailwiseError(
                f"TailwiseClassifier: {type(objective).__name__} takes one label per row and y is an indicator matrix; "
                "choose BinaryCrossEntropy, Asymmetric or DistributionBalanced"
            )
        return Task(network, objective)

    def _train(self, rows: Rows, seed: int) -> None:
        """Train, and keep what prediction needs."""
        task = self._build()
        held = None
        if self.patience is not None:
            groups = torch.zeros(len(rows.labels), dtype=torch.int64) if self.multilabel_ else rows.labels
            kept, out = hold_out(groups, self.validation_fraction, seed, least=0)
            if len(out) == 0:
                raise TailwiseError("TailwiseClassifier: no class has two rows, so none can be held out; leave patience None")
            rows, held = rows[kept], rows[out]
        plain = bool((self.class_weight_ == 1).all())
        sampler: Sampler = Shuffled() if plain else Weighted(torch.from_numpy(self.class_weight_))
        decay = self.weight_decay * min(1.0, self.batch_size / len(rows.values))
        loop = Loop(self.epochs, self.batch_size, self.learning_rate, decay, self.noise, self.masking, self.patience, seed)
        self.losses_ = loop(task, rows, held, sampler)
        self.n_iter_ = len(self.losses_)
        # float64, so that a prediction does not depend on the rows beside it
        self.network_ = cast(RowNetwork, task.model).double().eval().requires_grad_(False)
        objective = task.objective
        self.normalised_ = isinstance(objective, MultiLabel) and not self.multilabel_
        carried = objective.carried_log_prior.detach().double()
        carried = F.logsigmoid(carried) if self.normalised_ else carried
        weights = torch.from_numpy(self.class_weight_).log()
        prior = objective.log_prior.double()
        corrects = float((carried - prior).std()) > 1e-4  # after training: weights that were deferred have set in
        if corrects and float((prior + weights).std()) < float(prior.std()) / 2:
            warnings.warn(
                f"class_weight balances the classes and {type(objective).__name__} corrects for their frequencies: the "
                "correction is applied twice; use one of the two",
                stacklevel=3,
            )
        self.carried_log_prior_ = (carried + weights).numpy()

    def _standard(self, values: Array) -> Tensor:
        return torch.from_numpy((values - self.mean_) / self.scale_)

    def _logits(self, X: ArrayLike) -> Array:
        """(N, C) under ``prior``."""
        check_is_fitted(self)
        values = validate_data(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            logits = self.network_(self._standard(values)[None]).logits[0]
        if not bool(logits.isfinite().all()):
            raise TailwiseError("TailwiseClassifier: some logits are not finite; X lies too far from the rows it was fitted on")
        logits = F.logsigmoid(logits) if self.normalised_ else logits
        if self.prior is not None:
            carried, counts = torch.from_numpy(self.carried_log_prior_), torch.from_numpy(self.class_counts_)
            logits = adjust(logits, carried, self._target(), counts == 0)
        return cast(Array, logits.numpy())

    def _target(self) -> Tensor | None:
        """The class distribution of ``prior``, as `adjust` wants it; None is uniform, and of no meaning without a prior."""
        counts = torch.from_numpy(self.class_counts_)
        odds = log_odds(counts, self.samples_) if self.multilabel_ else None
        return None if self.prior is None else target_log_prior(self.prior, counts, odds)

    def _binary(self) -> bool:
        return len(self.classes_) == 2 and not self.multilabel_
