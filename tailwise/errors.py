"""The one error class, and what keeps it and other text to one line, in a file that needs no torch."""

import re

LONGEST = 1500
"""Characters of an error; of a longer one the middle is left out."""

_CUNNING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def visible(text: str, longest: int = LONGEST) -> str:
    r"""Text of others as one line that does only what it looks like.

    Control characters (newlines, the escapes of terminals), marks that turn the direction of writing, and halves of
    characters are written as Python does: ``\n``, ``\u202e``. Beyond ``longest`` characters the middle is left out.
    """
    if len(text) > longest:
        text = f"{text[: longest * 2 // 3]} … {text[len(text) - longest // 4 :]}"
    return _CUNNING.sub(lambda found: repr(found[0])[1:-1] if ord(found[0]) < 256 else f"\\u{ord(found[0]):04x}", text)


class TailwiseError(ValueError):
    """A mistake that the user can mend: one line saying what is wrong, where, and what to do. The command exits 2."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


class Told(SystemExit):
    """A scheduler told the process to end, by a ``notice`` such as SIGTERM, and what could be saved is.

    The command says how to go on and exits 75, which is EX_TEMPFAIL in sysexits.h: nothing is wrong, try again. ``done`` is
    what became of the run.
    """

    code: int

    def __init__(self, notice: str, done: str = "") -> None:
        super().__init__(75)
        self.notice, self.done, self.advice = notice, done, "give the same command again"

    def __str__(self) -> str:
        return f"ended by {self.notice}{self.done}; {self.advice}"
