"""What a run's ``model.json`` may say: looked at before a network is made of it, for the file may be anybody's."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from tailwise.types import TailwiseError

SIDE = 2**14
"""Pixels of an image's side at most."""

_WORDS = ("backbone", "classifier", "decoder")
_NUMBERS = ("classes", "experts", "own_stages", "width")


def check_network(config: Any, tensors: Mapping[str, Tensor]) -> None:
    """Refuse, with ValueError, a network that is not described by words and numbers, or larger than its weights can fill.

    ``tensors`` are those of the file: a number of classes or channels is a side of one of them, and there are not more
    experts than tensors. So a few bytes of text cannot ask for a terabyte.
    """
    if not isinstance(config, dict) or not {"backbone", "classes"} <= config.keys() <= {*_WORDS, *_NUMBERS}:
        raise ValueError("network has other keys than those of a network")
    largest = max((side for tensor in tensors.values() for side in tensor.shape), default=0)
    for key, value in config.items():
        if key in _WORDS and not isinstance(value, str):
            raise ValueError(f"network.{key} is no word")
        if key in _NUMBERS and (not _whole(value) or not (key != "own_stages") <= value <= max(largest, len(tensors))):
            raise ValueError(f"network.{key} {str(value)[:40]} does not fit the weights")


def check(about: Mapping[str, Any]) -> None:
    """Refuse, with `TailwiseError`, entries that are there and cannot be what they are called; others stay unread."""
    classes = about["network"]["classes"]
    for key, fits in _FITS.items():
        if key in about and not fits(about[key], classes):
            raise TailwiseError(f"model.json: {key} is {str(about[key])[:60]!r}, which cannot be; train the run again")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    """Infinity is one: the logarithm of a share of 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _all(value: Any, fits: Callable[[Any], bool], n: int) -> bool:
    return isinstance(value, list) and len(value) == n and all(map(fits, value))


def _normalisation(value: Any, classes: int) -> bool:
    if not isinstance(value, dict) or not all(_all(value.get(key), _number, 3) for key in ("mean", "std")):
        return False
    return all(0 < std < math.inf for std in value["std"]) and all(map(math.isfinite, value["mean"]))


def _calibration(value: Any, classes: int) -> bool:
    def fits(one: Any) -> bool:
        return _number(one) or _all(one, _number, classes)

    return not value or (isinstance(value, dict) and "method" in value and all(fits(value.get(k)) for k in ("scale", "bias")))


def _pixels(value: Any, classes: int) -> bool:
    def side(one: Any) -> bool:
        return _whole(one) and 1 <= one <= SIDE

    short, window = (value.get("short_side"), value.get("window")) if isinstance(value, dict) else (0, 0)
    return (short is None or side(short)) and (window is None or _all(window, side, 2))


_FITS: dict[str, Callable[[Any, int], bool]] = {
    "classes": lambda value, n: _all(value, lambda name: isinstance(name, str), n),
    "image_size": lambda value, n: _whole(value) and 1 <= value <= SIDE,
    "normalisation": _normalisation,
    "train_counts": lambda value, n: value is None or _all(value, lambda one: _whole(one) and 0 <= one < 2**53, n),
    "train_samples": lambda value, n: _whole(value) and 0 <= value < 2**53,
    "carried_log_prior": lambda value, n: _all(value, _number, n),
    "calibration": _calibration,
    "pixels": _pixels,
    "task": lambda value, n: isinstance(value, str),
}
