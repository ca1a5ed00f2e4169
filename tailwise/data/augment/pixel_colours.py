"""The named colours of pixel tasks: each function gives the steps of one view, none of which moves a pixel.

A name is its function's name; its keyword arguments are the options that a recipe may set.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tailwise.data.augment import colour
from tailwise.data.augment.chain import Step, on_some
from tailwise.data.augment.jitter import Blur, Gray, Jitter
from tailwise.data.augment.presets import named


@dataclass(frozen=True)
class Photometric:
    """Each of four changes to half of the pictures: SSD's distortion (Liu et al., ECCV 2016) as mmsegmentation has it.

    In order: every value plus up to ± ``brightness``; all times 1 ± ``contrast``; HSV's saturation times 1 ±
    ``saturation``; its hue moved by up to ± ``hue`` turns. Half of the time contrast comes last. Values are cut to
    0..255 and whole numbers after each. Hue is moved by any amount; there, in steps of 1/180.
    """

    brightness: float = 32
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.1
    draws: ClassVar[int] = 9

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """As `Step`."""
        brighter, contrasted, saturated, turned, last = u[:5] < 0.5
        strength = torch.tensor([self.brightness, self.contrast, self.saturation, self.hue], dtype=u.dtype, device=u.device)
        plus, times, purer, turns = strength[:, None] * (2 * u[5:] - 1)
        for op, chosen, amount in (
            (_add, brighter, plus),
            (_multiply, contrasted & ~last, 1 + times),
            (_saturate, saturated, 1 + purer),
            (_turn, turned, turns),
            (_multiply, contrasted & last, 1 + times),
        ):
            pixels = on_some(op, pixels, chosen, amount)
        return pixels


def _each(amount: Tensor) -> Tensor:
    """A number for each picture, as it meets pixels."""
    return amount.float().view(-1, 1, 1, 1)


def _add(pixels: Tensor, amount: Tensor) -> Tensor:
    return colour.to_uint8(pixels.float().add_(_each(amount)).clamp_(0, 255))


def _multiply(pixels: Tensor, factor: Tensor) -> Tensor:
    return colour.to_uint8(pixels.float().mul_(_each(factor)).clamp_(0, 255))


def _saturate(pixels: Tensor, factor: Tensor) -> Tensor:
    """v − (v − x) · min(f, v / c) for a pixel's channels x, v their maximum and c their range, as a saturation c / v ≤ 1."""
    out = pixels.float()
    red, green, blue = torch.split(out, 1, 1)
    top = torch.maximum(torch.maximum(red, green), blue)
    chroma = top - torch.minimum(torch.minimum(red, green), blue)
    factor = torch.minimum(_each(factor).clamp(min=0), top / chroma.clamp_(min=1))
    return colour.to_uint8(out.sub_(top).mul_(factor).add_(top).round_())


def _turn(pixels: Tensor, shift: Tensor) -> Tensor:
    out = pixels.float()
    colour.hue_(out, shift)
    return colour.to_uint8(out)


def plain() -> tuple[Step, ...]:
    """The picture's own colours."""
    return ()


def photometric() -> tuple[Step, ...]:
    """`Photometric`: the weak standard of segmentation."""
    return (Photometric(),)


def pixel_simaugment(blur: float = 0) -> tuple[Step, ...]:
    """SimAugment's colours: jitter of 0.4, hue 0.1, in 8 of 10, gray in 2 of 10, a share of ``blur`` of them blurred."""
    return (Jitter(0.4, 0.1, 0.8), Gray(0.2), *((Blur(blur),) if blur else ()))


COLOURS: tuple[Callable[..., tuple[Step, ...]], ...] = (plain, photometric, pixel_simaugment)


def pixel_colours(spec: str | Mapping[str, Mapping[str, Any]]) -> tuple[Step, ...]:
    """The colours that a recipe names: ``photometric``, or ``{pixel_simaugment: {blur: 0.5}}`` with options.

    Raises `TailwiseError` as `tailwise.data.augment.preset`.
    """
    return named("colours", COLOURS, spec)
