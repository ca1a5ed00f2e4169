"""`TailwiseClassifier`: any objective of tailwise as a scikit-learn classifier of feature rows.

Shapes: N rows, F columns, C classes. For embeddings and tables of numbers; images and pixels have ``tailwise fit``.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import isabstract
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from tailwise import losses
from tailwise.data.samplers import Sampler, Shuffled
from tailwise.data.split import hold_out
from tailwise.integrations.rows import Loop, RowNetwork, Rows, Weighted
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
    - ``hidden``: widths of the hidden layers; ``()`` is a linear model.
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
      and counts as w_c rows in the prior that the model carries; the counts of the objective stay those of y.
    - ``prior``: the class distribution for which predictions are made. None leaves what was trained: uniform for
      `LogitAdjusted`, that of y (times class_weight) for `CrossEntropy`. "uniform", "train" (of y, without class_weight), or
      probabilities (C,) are reached by `priors.adjust`, from what the objective carries.
    - ``random_state``: the whole of the fit follows from it.

    Of several labels per row, y (N, C) an indicator matrix, the objective must be a `MultiLabel`; a prior is then a
    probability per class, "uniform" ½ for each, and `predict` gives an indicator matrix.

    Attributes: ``classes_``, ``class_counts_`` (C,), ``n_features_in_``, ``feature_names_in_`` (of a data frame),
    ``network_`` (eval mode, float64), ``mean_`` and ``scale_`` of the columns, ``carried_log_prior_`` (C,), ``losses_``
    (one per epoch), ``n_iter_`` epochs. `TailwiseError`, a ValueError, for parameters and data that make no sense.
    """

    def __init__(
        self,
        objective: str | Callable[..., Objective] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        hidden: Sequence[int] = (128,),
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
        self._check()
        values, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        labels = self._labels(y)
        self.mean_, spread = values.mean(0), values.std(0)
        self.scale_ = np.where(spread > 1e-12 * np.maximum(1, np.abs(self.mean_)), spread, 1.0)  # a constant column stays
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
        tags.classifier_tags.multi_label = True
        tags.non_deterministic = False
        return tags

    def _check(self) -> None:
        """Refuse parameters that make no sense."""
        for name, holds, wants in (
            ("hidden", all(width >= 1 for width in self.hidden), "positive widths"),
            ("dropout", 0 <= self.dropout < 1, "a share in [0, 1)"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("learning_rate", self.learning_rate > 0, "a positive number"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("noise", self.noise >= 0, "0 or more"),
            ("masking", 0 <= self.masking < 1, "a share in [0, 1)"),
            ("patience", self.patience is None or self.patience >= 1, "None or at least 1"),
            ("validation_fraction", 0 < self.validation_fraction < 1, "a share in (0, 1)"),
        ):
            if not holds:
                raise TailwiseError(f"TailwiseClassifier: {name} is {getattr(self, name)!r}; give {wants}")

    def _labels(self, y: Any) -> Tensor:
        """Labels (N,) int64 or (N, C) float32; sets what is known of the classes."""
        self.samples_ = len(y) if not issparse(y) else y.shape[0]
        check_classification_targets(y)
        self.multilabel_ = type_of_target(y) == "multilabel-indicator"
        if self.multilabel_:
            y = np.asarray(y.toarray() if issparse(y) else y)
            self.classes_, self.class_counts_ = np.arange(y.shape[1]), (y != 0).sum(0)
            if self.class_weight is not None:
                raise TailwiseError("TailwiseClassifier: class_weight is for one label per row; leave it None")
            self.class_weight_ = np.ones(y.shape[1])
            return torch.from_numpy((y != 0).astype(np.float32))
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
        given = default if self.objective is None else self.objective
        make = _named(given) if isinstance(given, str) else given
        kind = str(getattr(getattr(make, "func", make), "classifier", "linear"))  # a partial has the class inside
        network = RowNetwork(len(self.mean_), len(self.classes_), tuple(self.hidden), kind, self.dropout)
        samples = {"samples": self.samples_} if isinstance(make, type) and issubclass(make, MultiLabel) else {}
        objective = make(torch.from_numpy(self.class_counts_), network, **samples, **(self.options or {}))
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
        corrects = not torch.allclose(task.objective.carried_log_prior, task.objective.log_prior, atol=1e-4)
        if self.class_weight == "balanced" and corrects and not isinstance(task.objective, MultiLabel):
            method = type(task.objective).__name__
            warnings.warn(
                f"class_weight balances the classes and {method} corrects for their frequencies: the correction is applied "
                "twice; use one of the two",
                stacklevel=3,
            )
        self.losses_ = loop(task, rows, held, sampler)
        self.n_iter_ = len(self.losses_)
        # float64, so that a prediction does not depend on the rows beside it
        self.network_ = cast(RowNetwork, task.model).double().eval().requires_grad_(False)
        weights = torch.from_numpy(self.class_weight_).log()
        self.carried_log_prior_ = (task.objective.carried_log_prior.detach().double() + weights).numpy()

    def _standard(self, values: Array) -> Tensor:
        return torch.from_numpy((values - self.mean_) / self.scale_)

    def _logits(self, X: ArrayLike) -> Array:
        """(N, C) under ``prior``."""
        check_is_fitted(self)
        values = validate_data(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            logits = self.network_(self._standard(values)[None]).logits[0]
        if self.prior is not None:
            odds = log_odds(torch.from_numpy(self.class_counts_), self.samples_) if self.multilabel_ else None
            carried, counts = torch.from_numpy(self.carried_log_prior_), torch.from_numpy(self.class_counts_)
            logits = adjust(logits, carried, target_log_prior(self.prior, counts, odds), counts == 0)
        return cast(Array, logits.numpy())

    def _binary(self) -> bool:
        return len(self.classes_) == 2 and not self.multilabel_


def _named(name: str) -> type[Objective]:
    """The objective of that name; an unknown one is refused with the nearest that there is."""
    classes = {key: value for key, value in vars(losses).items() if isinstance(value, type) and issubclass(value, Objective)}
    known = {key: value for key, value in classes.items() if value is not Objective and not isabstract(value)}
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1, cutoff=0)[0]
    raise TailwiseError(f"TailwiseClassifier: no objective {name!r} in tailwise.losses; did you mean {near!r}?")
