"""Whether the loggers that a recipe names can be used, asked before anything that takes long; Lightning is not needed."""

import importlib
import importlib.util
from collections.abc import Sequence

from tailwise.types import TailwiseError

KNOWN = ("csv", "tensorboard", "wandb", "mlflow")


def named(loggers: str | Sequence[str]) -> list[str]:
    """The names as a list: one word is a name too. Raises `TailwiseError` for another name."""
    names = [loggers] if isinstance(loggers, str) else list(loggers)
    if unknown := [name for name in names if name not in KNOWN]:
        raise TailwiseError(f"loggers: {unknown[0]!r} unknown; take {', '.join(KNOWN)}")
    return names


def check(loggers: str | Sequence[str]) -> None:
    """Import wandb and mlflow where they are named, and log in to the first, which asks for a key on a terminal.

    Raises `TailwiseError` for another name, for a library that is missing or does not work, and for wandb without a key.
    TensorBoard, which takes seconds to import and which every run has unless told otherwise, is only looked for.
    """
    for name in named(loggers):
        if name != "csv" and importlib.util.find_spec(name) is None:
            raise TailwiseError(f"loggers: {name} is not installed; run pip install {name}, or leave it out")
    for name in set(named(loggers)) & {"wandb", "mlflow"}:
        try:
            library = importlib.import_module(name)
            if name == "wandb":
                library.login()
        except Exception as error:  # a library that is broken, or of another age, fails in any way
            raise unusable(name, error) from error


def unusable(name: str, error: Exception) -> TailwiseError:
    """One line for a logger that cannot be made."""
    said = " ".join(str(error).split())[:160] or type(error).__name__
    advice = "or set WANDB_MODE=offline, " if name == "wandb" else ""
    return TailwiseError(f"loggers: {name} cannot be used ({said}); mend that, {advice}or leave it out")
