"""Numbers in whatever holds them: metrics take what scikit-learn's take."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tailwise.types import TailwiseError

Numbers = Tensor | ArrayLike


def numbers(values: Numbers, what: str) -> Tensor:
    """A tensor as it is; an array, series or list as a tensor, with NaN for None. Raises `TailwiseError` for other things."""
    if isinstance(values, Tensor):
        return values
    try:
        array = np.array(values)  # a copy: torch warns of arrays that cannot be written to
        return torch.as_tensor(array.astype(np.float64) if array.dtype == object else array)
    except (TypeError, ValueError) as error:
        raise TailwiseError(
            f"{what}: a {type(values).__name__} of other things than numbers; give a tensor, array or list of numbers"
        ) from error
