"""The tensors of a checkpoint that somebody else wrote, read without calling anything that the file names."""

import pickle
import re
import textwrap
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tailwise.types import TailwiseError

HARMLESS = {
    "_codecs.encode",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
}
"""Calls of these make NumPy's numbers and arrays, such as an accuracy beside the weights."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's state dict, names without the beginnings that wrappers of torch add.

    Only torch's own reader for weights touches the file, which calls nothing but what torch allows in weights. Objects of
    other classes, such as ProCo's criterion, become inert stand-ins. Raises `TailwiseError` for a file that would call
    another function, naming it, and for all that is no checkpoint.
    """
    if not path.is_file():
        raise TailwiseError(f"{path}: no such checkpoint")
    try:
        content = _content(path)
    except TailwiseError:
        raise
    except _Called as called:
        raise _refused(path, str(called)) from None
    except Exception as error:  # damaged and hostile files fail in any way
        if blocked := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise _refused(path, blocked[1]) from error
        raise TailwiseError(f"{path}: not a checkpoint that can be read safely ({reason(error)})") from error
    for key in ("state_dict", "model", "net"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise TailwiseError(f"{path}: holds a {type(content).__name__}, not a state dict")
    tensors = {str(key): _held(path, str(key), value) for key, value in content.items() if isinstance(value, Tensor)}
    return {re.sub(r"^((module|_orig_mod)\.)+", "", key): value for key, value in tensors.items()}


def _held(path: Path, key: str, tensor: Tensor) -> Tensor:
    """The tensor, if its numbers are in the file: strides of 0 make a petabyte of one number."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise TailwiseError(f"{path}: refused, for {key} is no tensor whose numbers are all in the file; save plain weights")
    return tensor


def _content(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > path.stat().st_size:  # torch does not compress
            raise TailwiseError(f"{path}: refused, for it would unpack to {size:,} bytes; save it with torch.save")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on how a pickle was written: what matters becomes an error
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            if not zipfile.is_zipfile(path):  # raw pickles, and files of torch before 1.6
                raise
            strange = torch.serialization.get_unsafe_globals_in_checkpoint(path)
            with torch.serialization.safe_globals([_stand_in(name) for name in strange]):
                return torch.load(path, map_location="cpu", weights_only=True)


def _refused(path: Path, name: str) -> TailwiseError:
    module, _, own = name.rpartition(".")
    name = f"{IMPORT_MAPPING.get(module, module)}.{own}".lstrip(".")  # a pickle of torch has Python 2's name of a module
    return TailwiseError(
        f"{path}: refused, because loading it would call {name}, which no weights need; ask for its state_dict alone"
    )


def reason(error: Exception) -> str:
    """What torch says, less its advice to load the file in the unsafe way."""
    said = re.split(r"\.\s|\n", str(error).rpartition("WeightsUnpickler error:")[2].strip())[0]
    return textwrap.shorten(f"{type(error).__name__}: {said}".removesuffix(": "), 120, placeholder=" …")


class _Called(Exception):
    """The file calls a function: its name."""


class _Inert(type):
    """Of a class that stands in for one that is not wanted. Objects of it keep and do nothing; a call of it is a function's."""

    def __call__(cls: type, *args: object, **options: object) -> object:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if name not in HARMLESS:
            raise _Called(name)
        return object.__new__(cls)


def _stand_in(name: str) -> _Inert:
    """What torch's reader finds under ``name``, whatever the file means by it."""

    def new(cls: type, *args: object, **options: object) -> object:
        return object.__new__(cls)

    module, _, own = name.rpartition(".")
    ignored = {"__new__": new, "__setstate__": lambda self, state: None}
    return _Inert(own, (), {"__module__": module, "__qualname__": own, **ignored})
