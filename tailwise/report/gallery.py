"""Test images on a page: of the classes that are confused, worst recognised and rarest, as far as there is room."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from tailwise.report.evidence import Evidence
from tailwise.report.page import picture
from tailwise.report.text import percent
from tailwise.report.words import several

SIDE, COARSE = 96, 48
"""Longer side of a thumbnail in pixels, and up to which side an image is shown enlarged, pixel by pixel."""

EACH = 5
"""Images of one class."""


class Thumbnail(NamedTuple):
    """One image with what was said about it."""

    source: str
    width: int
    height: int
    alt: str
    caption: str
    right: bool
    coarse: bool


class Shelf(NamedTuple):
    """Images under a title."""

    title: str
    thumbnails: list[Thumbnail]


def framed(image: Image.Image, alt: str, caption: str, right: bool) -> Thumbnail:
    """A test image, made small."""
    coarse = max(image.size) <= COARSE
    if not coarse:
        image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    shown = picture(np.asarray(image), "PNG" if coarse else "JPEG")
    scale = max(SIDE // max(image.size), 1) if coarse else 1
    return Thumbnail(shown.source, scale * shown.width, scale * shown.height, alt, caption, right, coarse)


def thumbnail(evidence: Evidence, i: int, names: Sequence[str]) -> Thumbnail:
    """Test image ``i``, small, with its true and predicted class, and what users are told of it with which probability."""
    truth, found, told = (int(column[i]) for column in (evidence.labels, evidence.predictions, evidence.shipped))
    right, sure = truth == found, f"{percent(float(evidence.sure[i]))} %"
    alt = f"test image {i}: {names[truth]}, " + ("recognised" if right else f"taken for {names[found]}")
    said = f"{names[found]}, {sure}" if told == found else f"{names[found]} (predict: {names[told]}, {sure})"
    return framed(evidence.images[i], alt, said, right)


def of_class(evidence: Evidence, c: int, title: str, names: Sequence[str], limit: int = EACH) -> Shelf:
    """Images of class ``c``: the wrong answers first, the surest of them in front; at least one right one if there is any."""
    own = torch.nonzero(evidence.labels == c)[:, 0]
    own = own[evidence.sure[own].argsort(descending=True, stable=True)]
    right = evidence.predictions[own] == c
    wrong, found = own[~right].tolist(), own[right].tolist()
    chosen = [*wrong[: limit - 1 if found else limit], *found]
    return Shelf(title, [thumbnail(evidence, i, names) for i in chosen[:limit]])


def of_pair(evidence: Evidence, pair: tuple[int, int, int, int], names: Sequence[str]) -> Shelf:
    """Images of two classes that are taken for one another, see `evidence.pairs`: wrong ones between a right one of each."""
    a, b, there, back = pair

    def chosen(truth: int, found: int, limit: int) -> list[int]:
        which = torch.nonzero((evidence.labels == truth) & (evidence.predictions == found))[:, 0]
        surest: list[int] = which[evidence.sure[which].argsort(descending=True, stable=True)].tolist()
        return surest[:limit]

    title = f"{names[a]} and {names[b]}: {_of(there, evidence, a)} {names[a]} taken for {names[b]}"
    title += f", {_of(back, evidence, b)} {names[b]} for {names[a]}" if back else ""
    which = [*chosen(a, a, 1), *chosen(a, b, 3), *chosen(b, a, 3), *chosen(b, b, 1)]
    return Shelf(title, [_with_truth(thumbnail(evidence, i, names), names[int(evidence.labels[i])]) for i in which])


def _of(n: int, evidence: Evidence, c: int) -> str:
    return f"{n} of {several(int((evidence.labels == c).sum()), 'image')} of"


def _with_truth(one: Thumbnail, truth: str) -> Thumbnail:
    return one if one.right else one._replace(caption=f"{truth}, called {one.caption}")
