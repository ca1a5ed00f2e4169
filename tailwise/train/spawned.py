"""Processes that this one started, as a run does for ``engine.devices`` above one: notices reach them, their errors us."""

import logging
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from tailwise.errors import TailwiseError, Told
from tailwise.notice import heard
from tailwise.train.run import CHECKPOINT

OURS = re.compile(r"^tailwise\.errors\.TailwiseError: (.*)$", re.MULTILINE)


@contextmanager
def spawned(launcher: Any, folder: Path) -> Iterator[None]:
    """Around the training of a run in a ``folder``; does nothing where Lightning's ``launcher`` is None: this process trains.

    Raises `Told` where a notice ended them, and `TailwiseError`, one line, for what one of them raised or was killed by.
    """
    if launcher is None:
        yield
        return
    heard_of = ""
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # it warns of each process that it ends

    def pass_on(notice: str) -> None:
        nonlocal heard_of
        heard_of = notice
        if not launcher.procs:
            raise Told(notice)
        launcher.kill(signal.Signals[notice])

    try:
        with heard(pass_on):
            yield
    except ProcessExitedException as error:
        if heard_of or error.exit_code == Told("").code:
            raise Told(heard_of or "SIGTERM", ", saved" if (folder / CHECKPOINT).is_file() else "") from error
        what = f"killed by {error.signal_name}" if error.signal_name else f"ended with exit code {error.exit_code}"
        raise TailwiseError(
            f"{folder}: process {error.error_index} of the run was {what}; continue with `tailwise fit --resume {folder}`"
        ) from error
    except ProcessRaisedException as error:
        if said := OURS.findall(str(error)):
            raise TailwiseError(said[-1]) from error
        raise
