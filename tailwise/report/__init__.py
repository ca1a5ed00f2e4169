"""Reports of finished runs."""

from collections.abc import Mapping
from typing import Any

from tailwise.report import image_card, multilabel_card, pixel_card
from tailwise.report.figures import IMAGES, MULTILABEL, PIXELS, figures
from tailwise.report.names import legible
from tailwise.report.text import compare, table

_CARDS = {IMAGES.headline: image_card.card, PIXELS.headline: pixel_card.card, MULTILABEL.headline: multilabel_card.card}


def card(result: Mapping[str, Any]) -> str:
    """One run in full, as text, from its result block."""
    return _CARDS[figures([result]).headline](legible(result))


__all__ = ["card", "compare", "table"]
