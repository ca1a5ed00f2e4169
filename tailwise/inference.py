"""What a model for pixels says about whole images of any size: sliding windows, scales, mirrored images, full resolution.

h × w is the image as the model is given it, H × W the size at which its classes are wanted. One image at a time, and
nothing of size H × W × C is ever made: `strips` gives the scores of a few rows, and what is kept of them is the caller's.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.types import Model, TailwiseError

AT_ONCE = 2**22
"""Scores in one strip: 16 MB."""

Size = tuple[int, int]


def windows(sides: Size, window: Size, stride: Size) -> list[Size]:
    """Top and left of the windows that cover h × w: one per stride, the last of each row and column flush with the end."""
    tops, lefts = (
        [min(i * step, side - part) for i in range(math.ceil((side - part) / step) + 1)]
        for side, part, step in zip(sides, window, stride, strict=True)
    )
    return [(top, left) for top in tops for left in lefts]


@dataclass(frozen=True)
class Sliding:
    """How a whole image is looked at: ``Sliding()`` in one piece, else in windows, at several scales, mirrored too.

    ``window`` (height, width) is what the model sees at once, None the whole image; of a smaller image it is all there is,
    without padding. Windows lie ``stride`` apart, or two thirds of their side (the overlap of mmsegmentation's recipes).
    A look is one scale, mirrored or not: where its windows overlap, their logits are averaged. Several looks are brought
    to h × w, and what is averaged is their softmax. ``batch`` windows are seen at a time, which changes no result.

    Raises `TailwiseError` for numbers that are not positive and windows that would leave gaps.
    """

    window: Size | None = None
    stride: Size | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    batch: int = 1

    def __post_init__(self) -> None:
        for name in ("window", "stride"):
            if (sides := getattr(self, name)) is not None and min(sides) < 1:
                raise TailwiseError(f"{name}: must be at least 1 pixel, got {sides[0]} x {sides[1]}")
        if self.stride is not None and (
            self.window is None or any(s > w for s, w in zip(self.stride, self.window, strict=True))
        ):
            raise TailwiseError(
                f"stride: {self.stride[0]} x {self.stride[1]} needs a window of at least that size, to leave no gap"
            )
        if not self.scales or min(self.scales) <= 0:
            raise TailwiseError(f"scales: must be positive numbers, at least one, got {self.scales}")
        if self.batch < 1:
            raise TailwiseError(f"batch: must be at least 1 window, got {self.batch}")

    @torch.inference_mode()
    def __call__(self, model: Model, image: Tensor) -> Tensor:
        """``image`` (3, h, w) float as the model wants it, on its device; the model in eval mode -> scores (h, w, C) float32.

        Of one look at scale 1 they are the model's logits, of anything else the logarithm of the mean probability: both
        take a shift of the prior, and their softmax is the probability. Beside the model it needs memory for two maps
        of C numbers per pixel, one of them at the largest scale.
        """
        height, width = image.shape[1:]
        looks = list(itertools.product(self.scales, (False, True) if self.flip else (False,)))
        if looks == [(1.0, False)]:
            return self._look(model, image)
        total: Tensor | None = None
        for scale, mirrored in looks:
            size = (max(round(height * scale), 1), max(round(width * scale), 1))
            seen = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0] if size != (height, width) else image
            logits = self._look(model, seen.flip(2) if mirrored else seen)
            total = image.new_zeros(height, width, logits.shape[2], dtype=torch.float32) if total is None else total
            row = 0
            for strip in strips(logits, (height, width)):
                total[row : row + len(strip)] += (strip.flip(1) if mirrored else strip).softmax(-1)
                row += len(strip)
        assert total is not None
        # A probability that rounded to 0 stays finite: 0 · −inf between two pixels would be NaN
        return total.div_(len(looks)).clamp_(min=torch.finfo(torch.float32).tiny).log_()

    def _look(self, model: Model, image: Tensor) -> Tensor:
        """Logits (h, w, C) float32 of one image as it is."""
        sides = (image.shape[1], image.shape[2])
        wanted = self.window or sides
        window = (min(wanted[0], sides[0]), min(wanted[1], sides[1]))
        if window == sides:
            return model(image[None, None]).at_labels()[0].float()
        places = windows(sides, window, self.stride or (-(-2 * window[0] // 3), -(-2 * window[1] // 3)))
        total, times = None, image.new_zeros(*sides, 1, dtype=torch.float32)
        for first in range(0, len(places), self.batch):
            some = places[first : first + self.batch]
            seen = torch.stack([image[:, y : y + window[0], x : x + window[1]] for y, x in some])
            for (y, x), logits in zip(some, model(seen[None]).at_labels(), strict=True):
                if total is None:
                    total = image.new_zeros(*sides, logits.shape[2], dtype=torch.float32)
                total[y : y + window[0], x : x + window[1]] += logits
                times[y : y + window[0], x : x + window[1]] += 1
        assert total is not None
        return total.div_(times)


def strips(scores: Tensor, size: Size) -> Iterator[Tensor]:
    """The scores (h, w, C) at H × W, a few rows at a time: (rows, W, C) float32, from the top.

    Bilinear between the centres of pixels, as `torch.nn.functional.interpolate` without antialiasing does it.
    """
    height, width = size
    rows = max(AT_ONCE // (width * scores.shape[2]), 1)
    at = ((torch.arange(height, device=scores.device).double() + 0.5) * scores.shape[0] / height - 0.5).clamp(min=0)
    above = at.long().clamp(max=scores.shape[0] - 1)
    below, share = (above + 1).clamp(max=scores.shape[0] - 1), (at - above).float()
    for first in range(0, height, rows):
        part = slice(first, first + rows)
        strip = (
            scores[part]
            if height == scores.shape[0]
            else scores[above[part]].lerp(scores[below[part]], share[part, None, None])
        )
        if width != scores.shape[1]:
            strip = F.interpolate(strip.permute(0, 2, 1), width, mode="linear").permute(0, 2, 1)
        yield strip


def classes_at(scores: Tensor, size: Size, shift: Tensor | None = None) -> Tensor:
    """The class of highest score of each pixel, (H, W) int64; scores (h, w, C) are resized first, by `strips`.

    ``shift`` (C,) is added to the resized scores: −inf for a class that may not be predicted would not survive a resize.
    """
    shift = None if shift is None else shift.to(scores)
    return torch.cat([(strip if shift is None else strip + shift).argmax(-1) for strip in strips(scores, size)])
