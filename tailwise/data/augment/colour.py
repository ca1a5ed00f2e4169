"""Colour operations on batches, equal to torchvision's on uint8 tensors.

``pixels`` are (n, 3, H, W) uint8 and each picture has its own parameter (n,). Results are cut, not rounded, to whole
numbers wherever torchvision cuts. A comparison is written as a clamped difference: on whole numbers
[a > b] = clamp(a − b, 0, 1), which vectorises where torch's comparisons and `torch.where` do not.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BLEND = ("Brightness", "Contrast", "Color")
"""What `blend` moves a picture away from, by number: black, its mean gray, its own gray."""

BITS = ("Posterize", "Solarize", "Invert")
"""The operations of `bits`, by number."""


def to_uint8(pixels: Tensor) -> Tensor:
    """Floats in [0, 256) cut to uint8."""
    return pixels.short().to(torch.uint8)  # straight to uint8 takes four times as long on a CPU


def gray_of(pixels: Tensor) -> Tensor:
    """Luma 0.2989 R + 0.587 G + 0.114 B of (n, 3, H, W), cut to a whole number: (n, 1, H, W) float32."""
    red, green, blue = torch.split(pixels, 1, 1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()


def blends(which: Tensor, factor: Tensor) -> Tensor:
    """What `blend_` needs of operations ``which`` (n, …), indexing `BLEND`, at ``factor`` (n, …): (n, …, 4, 1, 1, 1)."""
    return torch.stack([factor, 1 - factor, which == 1, which == 2], -1).float()[..., None, None, None]


def blend_(pixels: Tensor, weights: Tensor) -> None:
    """f · picture + (1 − f) · other, clamped and cut, in place, on whole numbers in float32; ``weights`` from `blends`."""
    factor, rest, is_mean, is_gray = weights.unbind(1)
    luma = gray_of(pixels)
    mean = luma.mean((1, 2, 3), keepdim=True).mul_(is_mean)
    other = luma.mul_(is_gray).add_(mean)
    pixels.mul_(factor).addcmul_(other, rest).clamp_(0, 255).floor_()


def blend(pixels: Tensor, which: Tensor, magnitude: Tensor) -> Tensor:
    """Brightness, contrast or saturation times 1 + ``magnitude``; ``which`` (n,) indexes `BLEND`."""
    out = pixels.float()
    blend_(out, blends(which, 1 + magnitude))
    return to_uint8(out)


def gray(pixels: Tensor) -> Tensor:
    """The picture in shades of gray, on all three channels."""
    return to_uint8(gray_of(pixels)).expand_as(pixels)


def hue_(pixels: Tensor, shift: Tensor) -> None:
    """The hue moved by ``shift`` (n,) in turns, on whole numbers in float32, in place.

    With hexagonal hue h in [0, 6), maximum v and range c of a pixel's channels, a channel is
    v − c · clamp(2 − d, 0, 1), d the distance on the circle from h to the hue where that channel is least: 3 for red,
    5 for green, 1 for blue.
    """
    red, green, blue = pixels.unbind(1)
    high, low = torch.maximum(green, blue), torch.minimum(green, blue)
    blue_leads = (blue - green).clamp_(0, 1)
    red_trails = (high - red).clamp_(0, 1)
    top, middle = torch.maximum(red, high), torch.minimum(red, high)
    chroma = top - torch.minimum(red, low)
    # h = |k + (middle − low) / c| with k = 0, −6, −2, 4 by the order of the channels
    k = blue_leads.mul(12).sub_(2).mul_(red_trails).sub_(blue_leads, alpha=6)
    h = middle.sub_(low).div_(chroma.clamp(min=1)).add_(k).abs_().add_((6 * shift).float().view(-1, 1, 1))
    h.sub_(h.mul(1 / 6).floor_(), alpha=6)
    top *= 255.999 / 255  # how torchvision goes back from [0, 1] to 0..255
    chroma *= 255.999 / 255
    torch.sub(top, chroma, alpha=2, out=red).addcmul_(chroma, (h - 3).abs_().clamp_(1, 2))
    top += chroma
    for channel, least in ((green, 5), (blue, 1)):
        nearness = (h - least).abs_().sub_(3).abs_().clamp_(1, 2)
        torch.addcmul(top, chroma, nearness, value=-1, out=channel)
    pixels.floor_()


def bits(pixels: Tensor, which: Tensor, magnitude: Tensor) -> Tensor:
    """Only the highest ``magnitude`` bits kept, values from 255 · ``magnitude`` up inverted, or all; `BITS` by ``which``."""
    kept = torch.where(which == 0, 256 - 2 ** (8 - magnitude.trunc()), 255)
    first = torch.where(which == 0, 256, torch.where(which == 1, (255 * magnitude).float().ceil(), 0))
    first, kept = torch.stack([first - 1, kept]).short().view(2, -1, 1, 1, 1)
    inverted = pixels.short().sub_(first).clamp_(0, 1).mul_(255).to(torch.uint8)
    return inverted.bitwise_xor_(pixels & kept.to(torch.uint8))


def autocontrast(pixels: Tensor) -> Tensor:
    """Each channel stretched so that its least value becomes 0 and its greatest 255; a flat channel stays."""
    least, greatest = pixels.amin((2, 3), keepdim=True).float(), pixels.amax((2, 3), keepdim=True).float()
    flat = least == greatest
    scale = ((greatest - least) * (1 / 255)).masked_fill_(flat, 1)
    return to_uint8(pixels.float().sub_(least.masked_fill_(flat, 0)).div_(scale).clamp_(0, 255))


def equalize(pixels: Tensor) -> Tensor:
    """Each channel mapped so that its values are spread evenly: Pillow's histogram equalisation.

    Value k becomes ⌊(pixels below k) / s + ½⌋ with s = ⌊pixels that are not of the greatest value / 255⌋; where s
    is 0 the channel stays.
    """
    values = pixels.flatten(2).long()
    counts = torch.zeros(*values.shape[:2], 256, dtype=torch.int32, device=pixels.device)
    counts.scatter_add_(2, values, counts.new_ones(()).expand_as(values))
    at_greatest = counts.gather(2, values.amax(2, keepdim=True))
    step = (values.shape[2] - at_greatest).div_(255, rounding_mode="floor").float()
    below = (counts.cumsum(2, dtype=torch.float32) - counts).add_(step / 2)
    # Halves below 2²³ divided in float32 have the right floor: the rounding is smaller than any remainder
    table = below.div_(step.clamp(min=1)).floor_().clamp_(0, 255)
    same = torch.arange(256, dtype=torch.float32, device=pixels.device)
    return to_uint8(torch.where(step == 0, same, table)).gather(2, values).view_as(pixels)


def sharpness(pixels: Tensor, magnitude: Tensor) -> Tensor:
    """picture − ``magnitude`` · (blurred − picture) inside, the border as it is; blurred with (1 1 1; 1 5 1; 1 1 1) / 13."""
    height, width = pixels.shape[2:]
    if min(height, width) < 3:
        return pixels
    out = pixels.float()
    inner = out[:, :, 1:-1, 1:-1]
    rows = (out[:, :, :-2] + out[:, :, 1:-1]).add_(out[:, :, 2:])
    blurred = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(inner, alpha=4).div_(13).round_()
    inner.addcmul_(blurred.sub_(inner), -magnitude.float().view(-1, 1, 1, 1))
    return to_uint8(out.clamp_(0, 255))


def blur(pixels: Tensor, sigma: Tensor, taps: int) -> Tensor:
    """Gaussian blur of standard deviation ``sigma`` pixels with ``taps`` (odd) weights each way, mirrored at the border."""
    reach = taps // 2
    place = torch.arange(-reach, reach + 1, device=pixels.device)
    weights = (-0.5 * (place / sigma[:, None]) ** 2).softmax(1).float()[:, :, None, None, None]
    out = F.pad(pixels.float(), (reach,) * 4, mode="reflect")
    for axis, side in ((2, pixels.shape[2]), (3, pixels.shape[3])):
        total = out.narrow(axis, reach, side) * weights[:, reach]
        for tap in (*range(reach), *range(reach + 1, taps)):
            total.addcmul_(out.narrow(axis, tap, side), weights[:, tap])
        out = total
    return to_uint8(out.round_())
