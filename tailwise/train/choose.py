"""What a run gets where nobody has said anything: its parts, why they were taken, and which option changes each.

Pure rules first, then `choices`, which applies them to images. They hold where no recipe is named; a recipe is taken as it is.
"""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from jsonargparse import Namespace
from torch import Tensor

from tailwise.data.source import SMALL, Images, Split
from tailwise.models import pretrained
from tailwise.models.adapters import adaptable
from tailwise.train.recipe import Data

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
STEPS = {SCRATCH: 800, TUNED: 800, ADAPTED: 400}
EPOCHS = {SCRATCH: (30, 60), TUNED: (15, 40), ADAPTED: (10, 40)}


@dataclass(frozen=True)
class Choice:
    """One thing that was decided: ``what`` is ``value``, because of ``why``; ``option`` names what changes it.

    ``keys`` are the recipe's keys that say it.
    """

    what: str
    value: str
    why: str
    option: str
    keys: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.what}: {self.value}; {self.why} ({self.option})"


def said(words: Sequence[str]) -> frozenset[str]:
    """The keys that the words of a command line name, and the sections that those lie in."""
    keys = [word[2:].split("=")[0] for word in words if word.startswith("--")]
    return frozenset(".".join(key.split(".")[:n]) for key in keys for n in range(1, key.count(".") + 2))


def memory() -> int:
    """Bytes of the GPU where there is one, else of the machine; 4 GiB where the system does not tell."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    if torch.backends.mps.is_available():
        return int(torch.mps.recommended_max_memory())
    if sys.platform == "win32":
        import ctypes

        kilobytes = ctypes.c_ulonglong()
        return 1024 * kilobytes.value if ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(kilobytes) else 4 * 2**30
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 4 * 2**30


def batch_size(samples: int, size: int, available: int | None = None) -> int:
    """A sixteenth of the ``samples``, within 32 to 128, and no more than half of the ``available`` bytes hold; at least 2.

    An image takes `PER_IMAGE` bytes at 224 pixels, and in proportion to its pixels else: an upper bound for the networks
    that are chosen here, in float32 and with one view.
    """
    fitting = (memory() if available is None else available) / 2 / (PER_IMAGE * (size / 224) ** 2)
    return max(min(max(samples // 16, 32), 128, int(fitting)), 2)


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
    """As many as make `STEPS` steps, within `EPOCHS`: many for few samples, the least number for many."""
    least, most = EPOCHS[way]
    return min(max(-(-STEPS[way] * batch // max(samples, 1)), least), most)


def rate(rule: str, batch: int, way: str) -> float:
    """The peak learning rate: of SGD in proportion to the batch, `RATES` being for 128 samples; of adapters a constant."""
    scale = batch / 128 if rule == "sgd" and way != ADAPTED else 1.0
    return float(f"{RATES[rule, way] * scale:.2g}")


def first_of_each(labels: Tensor, most: int) -> Tensor:
    """Indices into ``labels`` (N,) of the first ``most`` samples of each class, sorted."""
    order = labels.argsort(stable=True)
    counts = labels.bincount()
    place = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
    return order[place < most].sort().values


def split(data: Data, train: Split, held: Mapping[str, Split], counts: Tensor) -> Choice:
    """What was held out of the images without a split of their own, beside those to ``train`` on, by class ``counts``."""
    sizes = [f"{len(train.labels)} images to train on", *(f"{len(part.labels)} for {name}" for name, part in held.items())]
    value, groups = ", ".join(sizes), train.groups
    if not held:
        return Choice("split", value, "the data bring the others", "--data.validation")
    shares = {"test": f"{data.test:.0%} of each class for test", "val": f"{data.validation:.0%} of the rest for val"}
    why = ", ".join(shares[name] for name in held) + ", at least one image where a class has enough"
    lacking = {name: int(((counts > 0) & (part.counts(len(counts)) == 0)).sum()) for name, part in held.items()}
    why += "".join(
        f"; {number} {'class has' if number == 1 else 'classes have'} too few for {name}"
        for name, number in lacking.items()
        if number
    )
    if groups is not None:
        why += f"; images of a group stay on one side ({len(set(groups))} groups are trained on)"
    return Choice("split", value, why, "--data.test, --data.validation" + (", --data.groups ignore" if groups else ""))


def objective(told: Collection[str], name: str, why: str, counts: Tensor) -> list[Choice]:
    """The objective ``name``, which a run gets unless the user has ``told`` it something that speaks of class frequencies."""
    if {"objective", "sampler", "post_hoc"} & set(told):
        return []
    factor = float(counts.max() / counts.clamp(min=1).min())
    why = f"the largest class has {factor:.0f} times the images of the smallest, and {why}"
    return [Choice("objective", name, why, "--objective")]


def choices(record: Namespace, told: Collection[str], train: Split) -> list[Choice]:
    """What a run on images gets beside what the user has ``told`` (keys of `said`)."""
    samples, found = len(train.labels), list[Choice]()
    own = image_size(train.images)
    way, name, network = _network(record, told, record.data.image_size or own, samples)
    fixed = pretrained.input_size(name) if adaptable(name) else None
    size = record.data.image_size or fixed or own
    if "data.image_size" not in told:
        why = "the size that the network is made for" if fixed else "from the median short side of the images"
        found.append(Choice("image size", f"{size} pixels", why, "--data.image_size", {"data": {"image_size": size}}))
    found += [network] if network else []
    batch = record.batch_size or batch_size(samples, size)
    if "batch_size" not in told:
        why = f"from {samples} training images, {size} pixels wide, and {memory() / 2**30:.0f} GiB of memory"
        found.append(Choice("batch size", str(batch), why, "--batch_size", {"batch_size": batch}))
    if "epochs" not in told:
        number = epochs(samples, batch, way)
        why = f"{number * max(samples // batch, 1)} steps; fewer images get more epochs"
        found.append(Choice("epochs", str(number), why, "--epochs, or --max-minutes for a bound on time", {"epochs": number}))
    if not {"optim.lr", "optim"} & set(told) or ("optim.rule" in told and "optim.lr" not in told):
        lr = rate(record.optim.rule, batch, way)
        keys: dict[str, Any] = {"optim": {"lr": lr}}
        if "schedule" not in told:
            number = record.epochs if "epochs" in told else epochs(samples, batch, way)
            warmup = number / 10 if number >= 5 else 0.0
            keys["schedule"] = {"class_path": "tailwise.train.optim.Cosine", "init_args": {"warmup": warmup}}
        why = "it goes with the batch size" if way != ADAPTED else "that of LIFT"
        found.append(Choice("learning rate", f"{lr:g}", why, "--optim.lr", keys))
    return found


def _network(record: Namespace, told: Collection[str], size: int, samples: int) -> tuple[str, str, Choice | None]:
    """How to train which network: adapters on a pretrained transformer, else all of a pretrained network, else from nothing."""
    named, weights = record.model.backbone, record.model.weights
    if {"model.start_from", "model.experts", "model.freeze", "model.reinitialise"} & set(told):
        return SCRATCH, named, None
    if size <= SMALL and weights != "pretrained":
        name = "resnet32" if named == "auto" else named
        usual = Choice("network", name, "made for small images", "--model.backbone", {"model": {"backbone": name}})
        return SCRATCH if weights == "none" else TUNED, name, usual if named == "auto" else None
    large = "deit3_base_patch16_224" if torch.cuda.is_available() else "deit3_small_patch16_224"
    name = f"{large}.fb_in22k_ft_in1k" if named == "auto" else named
    problem = ""
    if weights == "none":
        problem = "--model.weights none was asked for" if "model.weights" in told else pretrained.trouble(name)
    if problem:
        scratch = named if named != "auto" else "resnet50" if samples >= MANY else "resnet18"
        why = f"from scratch, as pretrained weights of {name} could not be had: {problem}"
        option = "--model.backbone NAME --model.weights FILE for weights of your own"
        return SCRATCH, scratch, Choice("network", scratch, why, option, {"model": {"backbone": scratch}})
    parts = {"backbone": name, "weights": "pretrained" if weights == "none" else weights}
    if not adaptable(name) or find_spec("peft") is None or (record.model.adapter != "lora" and "model.adapter" in told):
        advice = "; with `pip install 'tailwise[adapters]'` it would be tuned lightly" * (find_spec("peft") is None)
        why = f"all of it is tuned{advice}"
        return (
            TUNED,
            name,
            Choice("network", f"{name}, pretrained", why, "--model.backbone, --model.weights none", {"model": parts}),
        )
    parts["adapter"] = "lora"
    why = "light fine-tuning keeps what it knows: low-rank adapters and norms"
    if "model.classifier" not in told:
        parts |= {"classifier": "cosine", "head": "class_means"}
        why += ", a cosine classifier that starts from class means"
    return (
        ADAPTED,
        name,
        Choice("network", f"{name}, pretrained", why, "--model.backbone, --model.adapter none", {"model": parts}),
    )
