"""Reports of finished runs."""

from collections.abc import Mapping
from typing import Any

from tailwise.report import pixel_card, text
from tailwise.report.figures import PIXELS, figures
from tailwise.report.text import compare, table


def card(result: Mapping[str, Any]) -> str:
    """One run in full, as text, from its result block."""
    return pixel_card.card(result) if figures([result]) is PIXELS else text.card(result)


__all__ = ["card", "compare", "table"]
