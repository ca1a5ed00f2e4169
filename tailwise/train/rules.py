"""How large, how long and how fast: the rules behind what a run gets where nobody has said anything."""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from tailwise.data.source import SMALL, Images

MANY = 10_000
"""Training images from which a larger network pays where it starts from nothing."""
SIZES = (96, 128, 160, 192, 224)
"""Sides of the square that images larger than `SMALL` are seen in."""
PER_IMAGE = 256 * 2**20
"""Bytes that training takes at most for one image of 224 × 224 pixels: a ViT-B in float32; others take less."""
FEW, MEANS = 8, 1024
"""Images of a class, and of all classes together, that a classifier's rows start from; every class has one at least."""
SCRATCH, TUNED, ADAPTED = "scratch", "tuned", "adapted"
"""How a network is trained: from random weights, whole from pretrained ones, or by adapters beside them."""
RATES = {("sgd", SCRATCH): 0.2, ("sgd", TUNED): 0.02, ("sgd", ADAPTED): 0.01}
RATES |= {("adamw", SCRATCH): 1e-3, ("adamw", TUNED): 1e-4, ("adamw", ADAPTED): 1e-3}
"""The peak learning rate: of SGD for a batch of 128 samples, but that of adapters, which is LIFT's, for any."""
STEPS = {SCRATCH: 800, TUNED: 800, ADAPTED: 400}
EPOCHS = {SCRATCH: (30, 60), TUNED: (15, 40), ADAPTED: (10, 40)}
LEAST = {SCRATCH: 8, TUNED: 32, ADAPTED: 32}
"""Samples in a batch at least.

What the tables give to `SCRATCH` is ours, settled on ten skewed draws of 40 to 655 training images at 8 and 32 pixels (from
CIFAR-10, Tiny-ImageNet and digits; ResNet-32, logit adjustment): chosen on two draws of a set, looked at again on a third.
With batches of 32, 8 epochs of 40 images are too few steps for the running statistics of the norms: the balanced accuracy of
two classes was 0.58, with batches of 8 it is 0.78, and where there are many steps nothing is lost. Half of the epochs cost 0.03
to 0.24, and four times the rate 0.18 on digits. Twice the epochs, a quarter of the rate and a longer warm-up were within noise;
AdamW gained over half of the epochs on CIFAR-10 and Tiny-ImageNet, and lost on digits. Pretrained networks were not compared.
"""


def memory() -> int:
    """Bytes of the GPU where there is one, else of the machine or of its share that this process may have.

    4 GiB where the system does not tell.
    """
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    if torch.backends.mps.is_available():
        return int(torch.mps.recommended_max_memory())
    if sys.platform == "win32":
        import ctypes

        kilobytes = ctypes.c_ulonglong()
        return 1024 * kilobytes.value if ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(kilobytes) else 4 * 2**30
    try:
        return min(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_allowed())
    except (OSError, ValueError):
        return 4 * 2**30


def _allowed(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Bytes that a container's control group grants; nothing where none is set."""
    files = [root / "memory.max", root / "memory" / "memory.limit_in_bytes"]
    texts = [file.read_text().strip() for file in files if file.is_file()]
    return [int(text) for text in texts if text.isdecimal()] or [sys.maxsize]


def batch_size(samples: int, size: int, views: int = 1, available: int | None = None, least: int = 32) -> int:
    """A sixteenth of the ``samples``, from ``least`` to 128, and no more than half of the ``available`` bytes hold; at least 2.

    A view takes `PER_IMAGE` bytes at 224 pixels, and in proportion to its pixels else: an upper bound for the networks
    that are chosen here, in float32.
    """
    fitting = (memory() if available is None else available) / 2 / (views * PER_IMAGE * (size / 224) ** 2)
    return max(min(max(samples // 16, least), 128, int(fitting)), 2)


def image_size(images: Images, looked_at: int = 32) -> int:
    """The side of the square that the model sees, from the median short side of some of the images.

    Up to `SMALL` pixels the images' own, rounded up to a multiple of 8; above, the next of `SIZES`, 224 at most.
    """
    every = max(len(images) // looked_at, 1)
    short = int(torch.tensor([min(images[i].size) for i in range(0, len(images), every)]).median())
    if short <= SMALL:
        return -(-short // 8) * 8
    return next((size for size in SIZES if size >= short), SIZES[-1])


def epochs(samples: int, batch: int, way: str) -> int:
    """As many as make `STEPS` steps, within `EPOCHS`: many for few samples, the least number for many; see `LEAST`."""
    least, most = EPOCHS[way]
    return min(max(-(-STEPS[way] * batch // max(samples, 1)), least), most)


def rate(rule: str, batch: int, way: str) -> float:
    """Of `RATES`, those of SGD in proportion to the batch, but for adapters; see `LEAST`."""
    scale = batch / 128 if rule == "sgd" and way != ADAPTED else 1.0
    return float(f"{RATES[rule, way] * scale:.2g}")


def first_of_each(labels: Tensor, most: int) -> Tensor:
    """Indices into ``labels`` (N,) of the first ``most`` samples of each class, sorted."""
    order = labels.argsort(stable=True)
    counts = labels.bincount()
    place = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
    return order[place < most].sort().values
