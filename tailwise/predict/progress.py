"""How far a long job is: a bar on a terminal, else a line for every twentieth."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int], None]
"""Called with how many more are done."""


@contextmanager
def progress(total: int, done: int, what: str = "images") -> Iterator[Progress]:
    """Tells standard error about ``total`` things of which ``done`` are there already."""
    if done:
        print(f"going on after {done} of {total} {what}", file=sys.stderr)
    if not sys.stderr.isatty():
        yield _lines(total, done, what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda more: bar.advance(task, more)


def _lines(total: int, done: int, what: str) -> Progress:
    step = -(-total // 20)

    def more(n: int) -> None:
        nonlocal done
        before, done = done, done + n
        if done // step > before // step or done == total:
            print(f"{done} of {total} {what}", file=sys.stderr)

    return more
