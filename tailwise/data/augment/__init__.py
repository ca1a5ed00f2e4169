"""Augmentation: named presets, made of a way to read pictures and of steps on whole batches."""

from tailwise.data.augment.chain import Augment, Chain, Read, Step
from tailwise.data.augment.geometry import CropFlip, Cutout, Shift
from tailwise.data.augment.jitter import Blur, Gray, Jitter
from tailwise.data.augment.policy import AutoAugment, RandAugment
from tailwise.data.augment.presets import PRESETS, preset
from tailwise.data.augment.read import ResizedCropFlip, Whole

__all__ = [
    "PRESETS",
    "Augment",
    "AutoAugment",
    "Blur",
    "Chain",
    "CropFlip",
    "Cutout",
    "Gray",
    "Jitter",
    "RandAugment",
    "Read",
    "ResizedCropFlip",
    "Shift",
    "Step",
    "Whole",
    "preset",
]
