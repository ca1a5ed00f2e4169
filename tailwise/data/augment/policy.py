"""AutoAugment and RandAugment: which operation each picture gets, and each operation on all who get it.

Operations, their strengths and the policies are those of torchvision (Cubuk et al., CVPR 2019 and arXiv 1909.13719).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import ClassVar

import torch
from torch import Tensor

from tailwise.data.augment import colour, geometry
from tailwise.data.augment.chain import in_pieces, whole_number
from tailwise.data.augment.geometry import Fill

FAMILIES = (("Identity",), geometry.AFFINE, colour.BLEND, colour.BITS, ("Sharpness",), ("AutoContrast",), ("Equalize",))
"""The operations, those together that one function does."""

OPS = tuple(name for family in FAMILIES for name in family)
"""The operations by number."""

SIGNED = (*geometry.AFFINE, *colour.BLEND, "Sharpness")
"""Those whose magnitude is negative half the time."""

SubPolicy = tuple[tuple[str, float, int], tuple[str, float, int]]
"""Two operations in order: name, probability, strength in 0..9 (whatever, where an operation has none)."""


@cache
def magnitudes(bins: int, height: int, width: int) -> Tensor:
    """Each operation's magnitude at each strength: (len(OPS), bins) float64; 0 where it has none."""
    greatest = {"ShearX": 0.3, "ShearY": 0.3, "Rotate": 30.0, **dict.fromkeys(("Sharpness", *colour.BLEND), 0.9)}
    greatest |= {"TranslateX": 150 / 331 * width, "TranslateY": 150 / 331 * height}
    out = torch.zeros(len(OPS), bins)
    for name, value in greatest.items():
        out[OPS.index(name)] = torch.linspace(0, value, bins)  # in float32, as torchvision has them
    out[OPS.index("Posterize")] = (8 - torch.arange(bins) / ((bins - 1) / 4)).round()
    out[OPS.index("Solarize")] = torch.linspace(1, 0, bins)
    return out.double()


_FAMILY = torch.tensor([number for number, family in enumerate(FAMILIES) for _ in family])
_MEMBER = torch.tensor([number for family in FAMILIES for number in range(len(family))])
_IS_SIGNED = torch.tensor([name in SIGNED for name in OPS])


def apply(pixels: Tensor, op: Tensor, magnitude: Tensor, fill: Fill) -> Tensor:
    """Each picture changed by its own operation: ``op`` (B,) indexes `OPS`, ``magnitude`` (B,) float64 with its sign."""
    functions: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (
        partial(geometry.affine, fill=fill),
        colour.blend,
        colour.bits,
        lambda pixels, _, magnitude: colour.sharpness(pixels, magnitude),
        lambda pixels, _, __: colour.autocontrast(pixels),
        lambda pixels, _, __: colour.equalize(pixels),
    )
    family, device = _FAMILY.to(op.device)[op], pixels.device
    many, order = family.bincount(minlength=len(FAMILIES)).tolist(), family.argsort(stable=True)
    out = pixels.index_select(0, order.to(device, non_blocking=True))
    member, magnitude = (t[order].to(device, non_blocking=True) for t in (_MEMBER.to(op.device)[op], magnitude))
    groups = zip(*(torch.split(t, many) for t in (out, member, magnitude)), strict=True)
    next(groups)  # these stay as they are
    for function, group in zip(functions, groups, strict=True):
        if len(group[0]):
            in_pieces(function, *group)
    return out.index_select(0, order.argsort().to(device, non_blocking=True))


@cache
def _table(policy: tuple[SubPolicy, ...]) -> Tensor:
    """Number in `OPS`, probability and strength of the first and the second operation: (3, 2, len(policy)) float64."""
    numbers = [[(OPS.index(op), probability, strength) for op, probability, strength in sub] for sub in policy]
    return torch.tensor(numbers, dtype=torch.float64).permute(2, 1, 0).contiguous()


def _in_turn(pixels: Tensor, ops: Tensor, signed: Tensor, fill: Fill) -> Tensor:
    for op, magnitude in zip(ops, signed, strict=True):
        pixels = apply(pixels, op, magnitude, fill)
    return pixels


def _signed(op: Tensor, magnitude: Tensor, u: Tensor) -> Tensor:
    """``magnitude``, negative where ``u`` < ½ and the operation has signs."""
    return torch.where(_IS_SIGNED.to(op.device)[op] & (u < 0.5), -magnitude, magnitude)


@dataclass(frozen=True)
class AutoAugment:
    """One of the sub-policies, drawn for each picture; each of its two operations happens with its probability."""

    policy: tuple[SubPolicy, ...]
    fill: Fill
    draws: ClassVar[int] = 5

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """As `Step`."""
        return _in_turn(pixels, *self.drawn(u, *pixels.shape[2:]), self.fill)

    def drawn(self, u: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The operations (2, B), by number in `OPS`, and their magnitudes (2, B) for pictures of one size."""
        op, probability, strength = _table(self.policy).to(u.device)[:, :, whole_number(u[0], len(self.policy))]
        op = (op * (u[1:3] < probability)).long()
        magnitude = magnitudes(10, height, width).to(u.device)[op, strength.long()]
        return op, _signed(op, magnitude, u[3:5])


@dataclass(frozen=True)
class RandAugment:
    """``ops`` operations, each any of `OPS` but Invert, at one strength in 0..30."""

    ops: int
    strength: int
    fill: Fill

    @property
    def draws(self) -> int:
        """As `Step`."""
        return 2 * self.ops

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        """As `Step`."""
        return _in_turn(pixels, *self.drawn(u, *pixels.shape[2:]), self.fill)

    def drawn(self, u: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The operations (ops, B), by number in `OPS`, and their magnitudes (ops, B) for pictures of one size."""
        op = whole_number(u[: self.ops], len(OPS) - 1)
        op += op >= OPS.index("Invert")
        return op, _signed(op, magnitudes(31, height, width).to(u.device)[op, self.strength], u[self.ops :])


CIFAR10: tuple[SubPolicy, ...] = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)
"""AutoAugment's policy for CIFAR-10."""

IMAGENET: tuple[SubPolicy, ...] = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 0), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 0)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, 0)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 0), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 0)),
    (("Equalize", 0.0, 0), ("Equalize", 0.8, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 0)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 0)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 0)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
)
"""AutoAugment's policy for ImageNet."""
