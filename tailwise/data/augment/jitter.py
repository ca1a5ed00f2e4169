"""Colour jitter, and changes that only some pictures get: gray, blur."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tailwise.data.augment import colour
from tailwise.data.augment.chain import on_some, pieces, replaced, whole_number

BLENDS = len(colour.BLEND)
"""Operations of a jitter beside hue."""


@dataclass(frozen=True)
class Jitter:
    """Brightness, contrast and saturation times 1 ± ``strength``, hue moved by ± ``hue`` turns, in random order.

    Each picture is jittered with probability ``share``. The order is that of the three and the place of hue among them.
    """

    strength: float
    hue: float
    share: float = 1.0
    draws: ClassVar[int] = 2 * BLENDS + 3

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """As `Step`."""
        order, factor, before, shift = self.drawn(u)
        chosen = (u[-1] < self.share).nonzero()[:, 0]
        sort = chosen[before[chosen].argsort(stable=True)]  # pictures with hue at the same place are neighbours
        rows = sort.to(pixels.device, non_blocking=True)
        order, factor, shift = (t.to(pixels.device, non_blocking=True)[rows] for t in (order, factor, shift))
        some = pixels.index_select(0, rows)
        for piece, weights, turns, places in pieces(some, colour.blends(order, factor), shift, before[sort]):
            stops = places.bincount(minlength=BLENDS + 1).cumsum(0).tolist()
            piece.copy_(self._jitter(piece, weights, turns, stops))
        return replaced(pixels, rows, some)

    def drawn(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of n pictures: the blends (n, 3) in order, the factor of each, the blends before hue (n,), and hue's shift (n,)."""
        order = u[:BLENDS].argsort(0).T
        factor = (1 + self.strength * (2 * u[BLENDS : 2 * BLENDS] - 1)).clamp(min=0).T
        return order, factor, whole_number(u[-3], BLENDS + 1), self.hue * (2 * u[-2] - 1)

    def _jitter(self, pixels: Tensor, weights: Tensor, shift: Tensor, stops: list[int]) -> Tensor:
        """Blends that come before hue, hue, the blends after it; the first ``stops[b]`` have at most b blends before it."""
        out = pixels.float()
        for turn, stop in enumerate(stops[:BLENDS]):
            colour.blend_(out[stop:], weights[stop:, turn])
        if self.hue:
            colour.hue_(out, shift)
        for turn, stop in enumerate(stops[:BLENDS]):
            colour.blend_(out[:stop], weights[:stop, turn])
        return colour.to_uint8(out)


@dataclass(frozen=True)
class Gray:
    """Each picture gray with probability ``share``."""

    share: float
    draws: ClassVar[int] = 1

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """As `Step`."""
        return on_some(colour.gray, pixels, u[0] < self.share)


@dataclass(frozen=True)
class Blur:
    """Each picture blurred with probability ``share``, by a standard deviation of 0.1 to 2 pixels (SimCLR).

    The kernel is a tenth of the picture wide, and odd: 23 for 224 pixels.
    """

    share: float
    draws: ClassVar[int] = 2

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """As `Step`."""
        taps = pixels.shape[-1] // 20 * 2 + 1
        return on_some(lambda pixels, sigma: colour.blur(pixels, sigma, taps), pixels, u[0] < self.share, 0.1 + 1.9 * u[1])
