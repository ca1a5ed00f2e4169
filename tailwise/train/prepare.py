"""From a recipe's data section to the splits of one run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tailwise.counts import imbalance_factor
from tailwise.data import (
    Source,
    Split,
    Stacked,
    counts_from_file,
    hold_out,
    largest_fitting,
    long_tailed,
    open_source,
    profile,
    stack_if_small,
)
from tailwise.data.source import SMALL
from tailwise.data.views import MultiView, Normalisation, multi_view, normalisation
from tailwise.train.recipe import Data


@dataclass(frozen=True)
class Prepared:
    """What one run trains on and is judged on."""

    source: Source
    train: Split
    checked: Split  # looked at between epochs
    checked_name: str  # "val", or "test" where the training set gives no validation: then it is only watched
    test: Split
    counts: Tensor  # (C,) of the training split
    size: int
    normalise: Normalisation
    presets: tuple[Any, ...]

    @property
    def names(self) -> list[str]:
        """Class names."""
        return list(self.source.names)

    def views(self, number: int) -> MultiView:
        """The first ``number`` training views; the last preset serves the rest."""
        named = [*self.presets, *[self.presets[-1]] * number][:number]
        return multi_view(named, self.size, self.normalise)

    def plain(self) -> MultiView:
        """The one view that judging and prediction use."""
        return multi_view(["plain"], self.size, self.normalise)

    def manifest(self, data: Data) -> dict[str, Any]:
        """What identifies the data: counts, hash, nominal and realised imbalance."""
        return {
            "source": data.source,
            "name": self.source.name,
            "sha256": self.source.sha256,
            "classes": self.names,
            "train_counts": self.counts.tolist(),
            "samples": {"train": len(self.train.labels), self.checked_name: len(self.checked.labels)}
            | {"test": len(self.test.labels)},
            "imbalance_factor": {"nominal": data.imbalance_factor, "realised": imbalance_factor(self.counts)},
            "skipped": len(self.source.issues),
            "image_size": self.size,
        }


def prepare(data: Data, issues_path: Path | None = None) -> Prepared:
    """Open the source, make it long-tailed, split it. A function of the data section alone, whatever the run's seed.

    Raises `TailwiseError` for data that cannot be used; bad images are listed at ``issues_path``.
    """
    source = open_source(data.source, strict=data.strict, issues_path=issues_path, download_root=data.download)
    train, test = source.splits["train"], source.splits.get("test")
    if test is None:
        kept, held = hold_out(train.labels, data.test, data.subset_seed, train.groups, source.names)
        train, test = train.subset(kept), train.subset(held)
    train = train.subset(long_tail(train.labels, source.names, data))
    checked, name = source.splits.get("val"), "val"
    if checked is None and data.validation > 0:
        kept, held = hold_out(train.labels, data.validation, data.subset_seed + 1, train.groups, source.names, least=0)
        train, checked = train.subset(kept), train.subset(held)
    if checked is None:
        checked, name = test, "test"
    train, checked, test = (stack_if_small(split) for split in (train, checked, test))
    own = train.images.pixels.shape[-1] if isinstance(train.images, Stacked) else 224
    size = data.image_size or own
    usual = "shift" if source.name == "digits" else "crop_flip" if size <= SMALL else "resized_crop_flip"
    counts = train.counts(len(source.names))
    return Prepared(
        source, train, checked, name, test, counts, size, normalisation(Path(source.name).name), data.views or (usual,)
    )


def long_tail(labels: Tensor, names: tuple[str, ...], data: Data) -> Tensor:
    """Indices into ``labels`` of the training subset that the recipe asks for; all of them when it asks for none."""
    classes = len(names)
    if data.counts is not None:
        wanted = counts_from_file(data.counts, classes, names)
    elif data.imbalance_factor is not None:
        available = labels.bincount(minlength=classes)
        largest = data.largest or largest_fitting(available, data.imbalance_factor, data.profile, allow_empty=data.allow_empty)
        wanted = profile(largest, classes, data.imbalance_factor, data.profile, allow_empty=data.allow_empty)
    else:
        return (labels >= 0).nonzero()[:, 0]
    return long_tailed(labels, wanted, data.subset_seed, allow_empty=data.allow_empty, names=names)
