"""A scheduler's notice that a process is to end: SIGTERM, or SIGUSR1, which some send a while before."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from tailwise.errors import Told

NOTICES = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Windows lacks the second."""


def listen(act: Callable[[str], None]) -> dict[signal.Signals, Any]:
    """From here on a notice calls ``act`` with its name, such as SIGTERM; gives what it called before.

    Nothing changes outside the main thread, the only one that hears signals, nor for a notice that is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {notice: signal.getsignal(notice) for notice in NOTICES}
    before = {notice: handler for notice, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for notice in before:
        signal.signal(notice, lambda number, _: act(signal.Signals(number).name))
    return before


@contextmanager
def heard(act: Callable[[str], None]) -> Iterator[None]:
    """`listen`, until the end of the block."""
    before = listen(act)
    try:
        yield
    finally:
        for notice, handler in before.items():
            signal.signal(notice, handler)


@contextmanager
def named(folder: Path) -> Iterator[None]:
    """An interrupt, or a notice that nobody else hears, ends the block and says how the run in the ``folder`` goes on."""
    advice = f"continue with `tailwise fit --resume {folder}`"
    try:
        with heard(end):
            yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(advice) from None
    except Told as told:
        told.advice = advice
        raise


def leave(notice: str) -> NoReturn:
    """What it does while modules load, which an error would leave half loaded: end the process, saying so."""
    told = Told(notice)
    os.write(2, f"tailwise: {told}\n".encode())
    os._exit(told.code)


def end(notice: str) -> NoReturn:
    """What a notice does where there is nothing to save: raise `Told`."""
    raise Told(notice)
