"""What one run trains on and is judged on, whatever its samples are; `images` and `pixels` say what differs between them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from jsonargparse import Namespace
from torch import Tensor

from tailwise import metrics
from tailwise.counts import imbalance_factor
from tailwise.data import Source, Split
from tailwise.data.views import Normalisation, Views
from tailwise.losses import Objective
from tailwise.models import Network
from tailwise.posthoc import Validation
from tailwise.train.choose import Choice, Told
from tailwise.train.recipe import Data, Engine, Net, Recipe
from tailwise.train.run import Run


class Judged(NamedTuple):
    """What was found on the test split."""

    figures: dict[str, Any]  # plain JSON values
    draw: Callable[[Path, Mapping[str, Any], Run], None]  # write the page: where, the run's whole result, the run


@dataclass(frozen=True)
class Prepared(ABC):
    """The splits of one run, and how its samples are read, predicted and judged."""

    source: Source
    train: Split
    checked: Split  # looked at between epochs
    checked_name: str  # "val", or "test" where the training set gives no validation: then it is only watched
    test: Split
    counts: Tensor  # (C,) of the training split
    size: int  # side of the square that the model sees in training
    normalise: Normalisation
    presets: tuple[Any, ...]

    headline: ClassVar[str]
    """The figure that epochs are compared by."""
    check_batch: ClassVar[int]
    """Samples per step when judging."""

    @property
    def names(self) -> list[str]:
        """Class names."""
        return list(self.source.names)

    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return {"train": self.train, "test": self.test, self.checked_name: self.checked}

    def held_out(self) -> dict[str, Split]:
        """Those that the source does not bring: they were taken out of its training images."""
        return {name: split for name, split in self.splits().items() if name not in self.source.splits}

    @abstractmethod
    def batch_size(self, views: int) -> int:
        """What a recipe that leaves it open gets, for an objective that sees so many views of a sample."""

    @property
    @abstractmethod
    def backbone(self) -> str:
        """What a recipe that leaves it open gets."""

    @property
    @abstractmethod
    def decoder(self) -> str:
        """What a recipe that leaves it open gets."""

    @abstractmethod
    def choices(self, record: Namespace, said: Told, views: int) -> tuple[Choice, ...]:
        """What a run gets beside what the user has ``said``, and why; ``views`` as of `batch_size`."""

    @abstractmethod
    def check(self, recipe: Recipe) -> None:
        """Refuse with `TailwiseError` what makes no sense for these samples."""

    def objective_options(self, kind: type[Objective]) -> dict[str, Any]:
        """What an objective of that ``kind`` must know of the data beside the counts; raises where it does not fit them."""
        return {}

    @abstractmethod
    def network(self, net: Net) -> Network:
        """The network that the recipe's model section describes, its weights random or from a checkpoint."""

    @abstractmethod
    def views(self, number: int) -> Views:
        """The first ``number`` training views; the last preset serves the rest."""

    @abstractmethod
    def plain(self) -> Views:
        """The one view that a look between epochs uses."""

    def tally(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What a look between epochs keeps of logits (*S, C) and their labels; of several batches it is the sum."""
        return metrics.tally(logits.argmax(-1), labels, len(self.names))

    @abstractmethod
    def look(self, tally: Tensor) -> Mapping[str, Tensor]:
        """The figures of a look between epochs, `headline` among them, from its `tally`."""

    def looked(self, tally: Tensor) -> dict[str, Tensor]:
        """`look`, the figures named after the split."""
        return {f"{self.checked_name}_{name}": figure for name, figure in self.look(tally).items()}

    @abstractmethod
    def validation(self, model: Network) -> Validation | None:
        """Logits and labels of the validation split, for post-hoc steps and calibration; None where they are too many."""

    @abstractmethod
    def judge(self, model: Network, about: Mapping[str, Any], engine: Engine) -> Judged:
        """What a finished model does on the test split; ``about`` is its ``model.json``."""

    def about(self) -> dict[str, Any]:
        """What ``model.json`` says of how samples are read."""
        normalisation = {"mean": self.normalise.mean, "std": self.normalise.std}
        return {"classes": self.names, "image_size": self.size, "normalisation": normalisation, "train_counts": self.counts}

    def manifest(self, data: Data) -> dict[str, Any]:
        """What identifies the data: counts, hash, nominal and realised imbalance."""
        return {
            "source": data.source,
            "name": self.source.name,
            "sha256": self.source.sha256,
            "classes": self.names,
            "train_counts": self.counts.tolist(),
            "samples": {name: len(split.labels) for name, split in self.splits().items()},
            "imbalance_factor": {"nominal": data.imbalance_factor, "realised": imbalance_factor(self.counts)},
            "skipped": len(self.source.issues),
            "image_size": self.size,
        }
