"""From features of any shape to the rows that contrastive losses compare."""

import torch
from torch import Tensor

from tailwise import rng
from tailwise.types import IGNORE, Batch

PIXELS = 64
"""Pixels drawn per image unless told otherwise: 16 images of 64 are a contrastive batch of 1024."""


def samples(features: Tensor, batch: Batch, per_image: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Features (V, *s, D) to rows (V, N, D) with labels (N,) and sample index (N,); N is the same on every rank.

    Images and feature rows, s = (B,), pass through. Of pixels, s = (B, h, w) under labels (B, H, W), ``per_image`` are
    drawn per image (N = B · per_image), classes in turn, the image's rarest first, at random within a class by
    ``batch.key``; features are read at the drawn full-resolution places, so that thin objects survive. Places that
    find no labelled pixel are IGNORE.
    """
    if features.ndim == 3:
        return features, batch.labels, batch.index
    count = per_image or PIXELS
    place, labels = _draw(batch.labels, batch.key, count)
    height, width = batch.labels.shape[-2:]
    h, w = features.shape[2:4]
    y, x = place // width * h // height, place % width * w // width  # the feature cell that covers the pixel
    rows = torch.arange(features.shape[1], device=features.device)[:, None]
    return features[:, rows, y, x].flatten(1, 2), labels.flatten(), batch.index.repeat_interleave(count)


def _draw(labels: Tensor, key: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Places (B, count) in the flattened image and their labels, classes in turn, rarest first."""
    images, pixels = labels.shape[0], labels[0].numel()
    flat = labels.reshape(images, pixels)
    if pixels < count:  # padded with unlabelled places, so that N stays fixed
        flat = torch.nn.functional.pad(flat, (0, count - pixels), value=IGNORE)
    order = torch.argsort(rng.uniform(key[:, None], torch.arange(flat.shape[1], device=flat.device)), dim=1)
    drawn = flat.gather(1, order)
    by_class = torch.argsort(drawn, dim=1, stable=True)  # random within a class
    sorted_labels = drawn.gather(1, by_class)
    position = torch.arange(flat.shape[1], device=flat.device).expand_as(flat)
    first = torch.searchsorted(sorted_labels, sorted_labels.contiguous(), side="left")
    last = torch.searchsorted(sorted_labels, sorted_labels.contiguous(), side="right")
    turn, size = position - first, last - first
    rank = turn * (pixels + count + 1) + size  # all first pixels of a class before all second ones; small classes first
    rank = rank.masked_fill(sorted_labels < 0, torch.iinfo(torch.int64).max)
    chosen = torch.argsort(rank, dim=1, stable=True)[:, :count]
    place = order.gather(1, by_class).gather(1, chosen)
    label = sorted_labels.gather(1, chosen)
    return place.clamp(max=pixels - 1), label.clamp(min=-1).masked_fill(label < 0, IGNORE)
