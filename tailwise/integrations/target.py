"""The class distribution that predictions should meet, as a user gives it."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tailwise.counts import log_prior
from tailwise.types import TailwiseError

Prior = Literal["train", "uniform"] | ArrayLike | None


def target_log_prior(prior: Prior, counts: Tensor, log_odds: Tensor | None = None) -> Tensor | None:
    """The target of `tailwise.priors.adjust`: logarithms (C,), None for uniform.

    "train" is that of the class ``counts`` (C,); probabilities (C,) sum to one. Where a sample has several labels,
    ``log_odds`` (C,) are those of training, and targets are log odds too: uniform is ½ for each class. Raises
    `TailwiseError` for anything else.
    """
    if isinstance(prior, str):
        if prior not in ("train", "uniform"):
            raise TailwiseError(f"prior: {prior!r} is none; give None, 'train', 'uniform' or probabilities")
        train = log_prior(counts) if log_odds is None else log_odds
        return train if prior == "train" else None
    try:
        values = torch.from_numpy(np.array(prior, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise TailwiseError(f"prior: {prior!r} are no numbers; give None, 'train', 'uniform' or probabilities") from error
    if values.shape != counts.shape or not bool(((values >= 0) & (values <= 1)).all()):
        raise TailwiseError(f"prior: give {len(counts)} probabilities in [0, 1], in the order of classes_, got {prior!r}")
    if log_odds is not None:
        return values.logit()
    if abs(float(values.sum()) - 1) > 1e-6:
        raise TailwiseError(f"prior: the probabilities sum to {float(values.sum()):.6g}; they must sum to 1")
    return values.log()
