"""Text in the cells of CSV files: what a spreadsheet would run is written behind a ``'``, and read without it."""

import re

_FORMULA = re.compile(r"[\s'\ufeff]*[=+\-@＝＋－＠]|'*[\t\r\n]")
"""What begins so is taken for a formula by some spreadsheet (OWASP, CSV injection), perhaps once blanks are cut off."""


def guarded(text: str) -> str:
    """Text for a cell. A ``'`` goes in front of what looks like a formula, and of what does behind its own ``'``."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text that `guarded` made the cell of; other cells are as they are."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
