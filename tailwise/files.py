"""Files of a run are written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from tailwise.types import TailwiseError

AGAIN = "free some space or choose another place, and repeat"
"""What to do where nobody knows better."""


def go_on(run: Path) -> str:
    """What to do where a file of a run could not be written."""
    return f"free some space and continue with `tailwise fit --resume {run}`"


def write_whole(path: Path, content: bytes, advice: str = AGAIN) -> None:
    """Write beside the file, flush to disk, then replace it in one move: a full disk or a crash leaves the old one.

    Makes the folder where it is missing. Raises `TailwiseError` when it cannot be written; ``advice`` says in that line what
    helps, such as another value of the option that named the file.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # the folder itself may be out of reach
            temporary.unlink()
        whole = ", the last one is whole" if os.path.lexists(path) else ""
        raise TailwiseError(f"{path}: could not be written ({error.strerror or error}){whole}; {advice}") from error
