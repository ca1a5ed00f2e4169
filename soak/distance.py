"""How far apart two states are: what runs in one process and in several ended with."""

from collections.abc import Mapping

from torch import Tensor

State = Mapping[str, Tensor]


def of_numbers(found: Tensor, expected: Tensor) -> float:
    """The largest |x − y| / max(1, |y|): of numbers above one their last digits are larger too."""
    apart = (found.double() - expected.double()).abs() / expected.double().abs().clamp(min=1)
    return float(apart.max())


def of_rows(found: Tensor, expected: Tensor) -> float:
    """The largest ‖x − y‖ / max(1, ‖y‖) of rows (N, d): the digits that a feature loses go with its length."""
    apart = (found.double() - expected.double()).norm(dim=-1) / expected.double().norm(dim=-1).clamp(min=1)
    return float(apart.max())


def as_read(state: State) -> dict[str, Tensor]:
    """The state, with running sums of rows as the means that are read of them: a sum of 500 rows has the rounding of all."""
    read = dict(state)
    for key in state:
        if key.endswith("means.sums"):
            read[key] = state[key] / state[key.replace("sums", "counts")].clamp(min=1)[..., None]
    return read
