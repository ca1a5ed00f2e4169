"""Augmentation: named presets, made of batched and per-picture steps."""

from tailwise.data.augment.batched import CropFlip, Cutout, Shift
from tailwise.data.augment.per_picture import PerPicture, Sampled, Whole
from tailwise.data.augment.presets import PRESETS, Augment, Chain, Step, preset

__all__ = ["PRESETS", "Augment", "Chain", "CropFlip", "Cutout", "PerPicture", "Sampled", "Shift", "Step", "Whole", "preset"]
