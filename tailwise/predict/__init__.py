"""What a trained run says about a user's files: `classify` of whole images, `segment` of their pixels."""

import json
from contextlib import suppress
from pathlib import Path

from tailwise.models.saved import ABOUT
from tailwise.predict.images import Classified, classify
from tailwise.predict.pixels import Predicted, segment

__all__ = ["Classified", "Predicted", "classify", "labels_pixels", "segment"]


def labels_pixels(run: str | Path) -> bool:
    """Whether a run is one for `segment`; False also for what is no run, which `classify` refuses with its reason."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return "decoder" in json.loads((Path(run) / ABOUT).read_text(encoding="utf-8"))["network"]
    return False
