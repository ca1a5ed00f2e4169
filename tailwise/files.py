"""Files of a run are written whole or not at all."""

import os
from pathlib import Path

from tailwise.types import TailwiseError


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the file, flush to disk, then replace it in one move: a full disk or a crash leaves the old one.

    Makes the folder where it is missing. Raises `TailwiseError` when it cannot be written.
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
        temporary.unlink(missing_ok=True)
        raise TailwiseError(
            f"{path}: could not be written ({error.strerror}), the last one is whole; free some space and repeat, "
            f"or continue with `tailwise fit --resume {path.parent}`"
        ) from error
