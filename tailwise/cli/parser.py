"""What the commands share: a parser whose errors are ours, what a shell may complete, and dotted keys of a recipe."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tailwise.errors import TailwiseError


@dataclass(frozen=True)
class Offer:
    """What a shell completes a value with: words, which are looked up when its script is made, and paths."""

    words: Callable[[], Sequence[str]] | None = None
    paths: Literal["file", "directory"] | None = None


FILE, FOLDER = Offer(paths="file"), Offer(paths="directory")


class Parser(argparse.ArgumentParser):
    """Its errors are ours: one line. ``offers`` says what its arguments are completed with; they take other values too."""

    offers: Mapping[str, Offer] = {}

    def error(self, message: str) -> None:  # type: ignore[override]
        raise TailwiseError(f"{self.prog.split()[-1]}: {message}; see {self.prog} --help")


def joined(words: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """``--any.key value`` as the one word ``--any.key=value``, so that its value is not taken for the source."""
    whole: list[str] = []
    for word in words:
        key = whole[-1] if whole else ""
        ours = key in parser._option_string_actions
        if key.startswith("--") and "=" not in key and not ours and not word.startswith("--"):
            whole[-1] = f"{key}={word}"
        else:
            whole.append(word)
    return whole
