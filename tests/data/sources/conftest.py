"""What the tests of the sources share: tiny images, and the look of a refusal."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tailwise.data import open_source
from tailwise.types import TailwiseError


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, so that nothing is kept in the user's."""
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(path))
    return path


def _png(seed: int, size: tuple[int, int] = (6, 5)) -> bytes:
    """A random image (width, height) = ``size`` as PNG bytes, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def png() -> Callable[..., bytes]:
    """``png(seed)``: an image's bytes."""
    return _png


@pytest.fixture
def put() -> Callable[..., None]:
    """``put(path, seed)``: an image as a file, with the folders it needs."""

    def put(path: Path, seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(seed))

    return put


@pytest.fixture
def refused() -> Callable[..., None]:
    """``refused(spec, *parts)``: the source is refused with one line that holds all the parts."""

    def refused(spec: str | Path, *parts: str, **options: Any) -> None:
        with pytest.raises(TailwiseError) as caught:
            open_source(spec, **options)
        message = str(caught.value)
        assert "\n" not in message
        for part in parts:
            assert part in message, message

    return refused
