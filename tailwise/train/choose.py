"""What a run gets where nobody has said anything: its parts, why they were taken, and which option changes each.

They hold where no recipe is named; a recipe is taken as it is. The numbers are those of `tailwise.train.rules`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace
from torch import Tensor

from tailwise.data.source import SMALL, Split
from tailwise.models import pretrained
from tailwise.models.adapters import adaptable
from tailwise.train import rules
from tailwise.train.recipe import Data
from tailwise.train.rules import ADAPTED, MANY, SCRATCH, TUNED


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


@dataclass(frozen=True)
class Told:
    """What the words of a command line say: the dotted keys that they name."""

    keys: frozenset[str]

    def settles(self, key: str) -> bool:
        """Whether the words give the value of a key, by its name or by that of a section that it lies in."""
        return any(key == told or key.startswith(f"{told}.") for told in self.keys)

    def touches(self, section: str) -> bool:
        """Whether the words give the value of anything in a section."""
        return self.settles(section) or any(told.startswith(f"{section}.") for told in self.keys)

    def with_(self, key: str) -> "Told":
        """As if the words named this key too."""
        return Told(self.keys | {key})


def told(words: Sequence[str]) -> Told:
    """The keys that words such as ``--optim.lr=0.1`` name."""
    return Told(frozenset(word[2:].split("=")[0] for word in words if word.startswith("--")))


def corrects(said: Told) -> bool:
    """Whether the words speak of class frequencies themselves, so that nothing is chosen that corrects for them."""
    return any(said.touches(section) for section in ("objective", "sampler", "post_hoc"))


def split(data: Data, train: Split, held: Mapping[str, Split], counts: Tensor) -> Choice:
    """What was held out of the images without a split of their own, beside those to ``train`` on, by class ``counts``."""
    sizes = [f"{len(train.labels)} images to train on", *(f"{len(part.labels)} for {name}" for name, part in held.items())]
    value, groups = ", ".join(sizes), train.groups
    if not held:
        return Choice("split", value, "the data bring the others", "--data.validation")
    asked = {"test": f"{data.test:.0%} of each class for test", "val": f"{data.validation:.0%} of the rest for val"}
    why = ", ".join(asked[name] for name in held) + ", at least one image where a class has enough"
    lacking = {name: int(((counts > 0) & (part.counts(len(counts)) == 0)).sum()) for name, part in held.items()}
    why += "".join(
        f"; {number} {'class has' if number == 1 else 'classes have'} too few for {name}"
        for name, number in lacking.items()
        if number
    )
    if groups is not None:
        total = len(train.labels) + sum(len(part.labels) for part in held.values())
        got = ", ".join(f"{len(part.labels) / total:.0%} of the images in {name}" for name, part in held.items())
        why += f"; images of a group stay on one side ({len(set(groups))} groups are trained on), which gives {got}"
        if Path(data.source).expanduser().is_dir():
            why += "; folders of one name are one group, whatever their class"
    return Choice("split", value, why, "--data.test, --data.validation" + (", --data.groups ignore" if groups else ""))


def objective(said: Told, name: str, why: str, counts: Tensor) -> list[Choice]:
    """The objective ``name``, which a run gets unless the user has said something that speaks of class frequencies."""
    if corrects(said):
        return []
    factor = float(counts.max() / counts.clamp(min=1).min())
    why = f"the largest class has {factor:.0f} times the images of the smallest, and {why}"
    return [Choice("objective", name, why, "--objective")]


def choices(record: Namespace, said: Told, train: Split, views: int = 1) -> list[Choice]:
    """What a run on images gets beside what the user has ``said``; ``views`` is how many the objective sees of an image."""
    samples, own = len(train.labels), rules.image_size(train.images)
    taken = _network(record, said, record.data.image_size or own, samples)
    made_for = pretrained.input_size(taken.name) if adaptable(taken.name) else None
    size = record.data.image_size or made_for or own
    batch = record.batch_size or rules.batch_size(samples, size, views, least=rules.LEAST[taken.way])
    epochs = record.epochs if said.settles("epochs") else rules.epochs(samples, batch, taken.way)
    warmup = epochs / 10 if epochs >= 5 else 0.0
    lr = rules.rate(record.optim.rule, batch, taken.way)
    cosine = {"class_path": "tailwise.train.optim.Cosine", "init_args": {"warmup": warmup}}
    found = [
        Choice(
            "image size",
            f"{size} pixels",
            "the size that the network is made for" if made_for else "from the median short side of the images",
            "--data.image_size",
            {"data": {"image_size": size}},
        ),
        Choice(
            "batch size",
            str(batch),
            f"from {samples} training images, {size} pixels wide, and {rules.memory() / 2**30:.0f} GiB of memory",
            "--batch_size",
            {"batch_size": batch},
        ),
        Choice(
            "epochs",
            str(epochs),
            f"{epochs * max(samples // batch, 1)} steps; fewer images get more epochs",
            "--epochs, or --max-minutes for a bound on time",
            {"epochs": epochs},
        ),
        Choice(
            "learning rate",
            f"{lr:g}",
            "that of LIFT" if taken.way == ADAPTED else "it goes with the batch size",
            "--optim.lr",
            {"optim": {"lr": lr}},
        ),
        Choice("warm-up", f"{warmup:g} epochs", "a tenth of them, then a cosine", "--schedule", {"schedule": cosine}),
    ]
    left = [choice for choice in found if not any(said.touches(key) for key in _keys(choice.keys))]
    return [*([taken.choice] if taken.choice else []), *left]


def _keys(nested: Mapping[str, Any], above: str = "") -> list[str]:
    """The dotted keys of the values, a class and its options being one."""
    found = []
    for key, value in nested.items():
        deeper = isinstance(value, Mapping) and "class_path" not in value
        found += _keys(value, f"{above}{key}.") if deeper else [above + key]
    return found


class _Taken(NamedTuple):
    """A network: how it is trained, its name, and the choice that it is, unless the user's words leave nothing to choose."""

    way: str
    name: str
    choice: Choice | None


def _network(record: Namespace, said: Told, size: int, samples: int) -> _Taken:
    """Adapters on a pretrained transformer, else all of a pretrained network, else one from nothing."""
    named, weights = record.model.backbone, record.model.weights
    if any(said.settles(f"model.{key}") for key in ("start_from", "experts", "freeze", "reinitialise")):
        return _Taken(SCRATCH, named, None)
    if size <= SMALL and weights != "pretrained":
        way = SCRATCH if weights == "none" else TUNED
        small = Choice("network", "resnet32", "made for small images", "--model.backbone", {"model": {"backbone": "resnet32"}})
        return _Taken(way, "resnet32", small) if named == "auto" else _Taken(way, named, None)
    large = "deit3_base_patch16_224" if torch.cuda.is_available() else "deit3_small_patch16_224"
    name = f"{large}.fb_in22k_ft_in1k" if named == "auto" else named
    asked = said.settles("model.weights")
    problem = "" if weights != "none" else "--model.weights none was asked for" if asked else pretrained.trouble(name)
    return _from_nothing(named, name, samples, problem) if problem else _pretrained(record, said, name)


def _from_nothing(named: str, wanted: str, samples: int, problem: str) -> _Taken:
    """A network that learns from the images alone, as ``wanted`` could not be had."""
    name = named if named != "auto" else "resnet50" if samples >= MANY else "resnet18"
    why = f"from scratch, as pretrained weights of {wanted} could not be had: {problem}"
    option = "--model.backbone NAME --model.weights FILE for weights of your own"
    return _Taken(SCRATCH, name, Choice("network", name, why, option, {"model": {"backbone": name}}))


def _pretrained(record: Namespace, said: Told, name: str) -> _Taken:
    """A pretrained network: adapters where it takes them, else all of it is tuned."""
    weights = "pretrained" if record.model.weights == "none" else record.model.weights
    parts = {"backbone": name, "weights": weights}
    refused = record.model.adapter != "lora" and said.settles("model.adapter")
    if not adaptable(name) or find_spec("peft") is None or refused:
        advice = "; with `pip install 'tailwise[adapters]'` it would be tuned lightly" * (find_spec("peft") is None)
        why, option = f"all of it is tuned{advice}", "--model.backbone, --model.weights none"
        return _Taken(TUNED, name, Choice("network", f"{name}, pretrained", why, option, {"model": parts}))
    parts["adapter"] = "lora"
    why = "light fine-tuning keeps what it knows: low-rank adapters and norms"
    if not said.settles("model.classifier"):
        parts |= {"classifier": "cosine", "head": "class_means"}
        why += ", a cosine classifier that starts from class means"
    option = "--model.backbone, --model.adapter none"
    return _Taken(ADAPTED, name, Choice("network", f"{name}, pretrained", why, option, {"model": parts}))
