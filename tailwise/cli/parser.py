"""What the commands share: a parser whose errors are ours, and dotted keys of a recipe."""

import argparse

from tailwise.types import TailwiseError


class Parser(argparse.ArgumentParser):
    """Its errors are ours: one line."""

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
