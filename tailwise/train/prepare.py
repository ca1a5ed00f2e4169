"""From a recipe's data section to the splits of one run."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from tailwise.data import (
    MultiLabelSplit,
    Source,
    Stacked,
    counts_from_file,
    hold_out,
    largest_fitting,
    long_tailed,
    open_source,
    profile,
    stack_if_small,
)
from tailwise.data.pixels import PixelSplit
from tailwise.data.source import SMALL
from tailwise.data.views import Normalisation, normalisation
from tailwise.train.images import PreparedImages
from tailwise.train.multilabel import PreparedMultiLabel
from tailwise.train.pixels import CROP, PreparedPixels
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Data
from tailwise.types import TailwiseError


def prepare(data: Data, issues_path: Path | None = None) -> Prepared:
    """Open the source, make it long-tailed, split it. A function of the data section alone, whatever the run's seed.

    Raises `TailwiseError` for data that cannot be used; bad images are listed at ``issues_path``.
    """
    source = open_source(
        data.source,
        strict=data.strict,
        issues_path=issues_path,
        download_root=data.download,
        ignore=data.pixels.ignore,
    )
    return arrange(source, data)


def arrange(source: Source, data: Data) -> Prepared:
    """The splits of a run on an opened source. Raises `TailwiseError` for data that cannot be split as the section says."""
    train, test = source.splits["train"], source.splits.get("test")
    train = replace(train, groups=None) if data.groups == "ignore" else train
    if test is None:
        kept, held = hold_out(train.labels, data.test, data.subset_seed, train.groups, source.names, least=0)
        if not len(held):
            raise TailwiseError(
                f"{source.name}: nothing can be held out for the test, as every class has one image or one group of images; "
                "add some, or give a test split"
            )
        train, test = train.subset(kept), train.subset(held)
    if isinstance(train, PixelSplit | MultiLabelSplit) and (data.imbalance_factor is not None or data.counts is not None):
        raise TailwiseError(
            "data.imbalance_factor and data.counts choose images by their one class; these have several: leave them out"
        )
    train = train.subset(long_tail(train.labels, source.names, data))
    checked, name = source.splits.get("val"), "val"
    if checked is None and data.validation > 0:
        kept, held = hold_out(train.labels, data.validation, data.subset_seed + 1, train.groups, source.names, least=0)
        train, checked = train.subset(kept), train.subset(held) if len(held) else None
    if checked is None:
        checked, name = test, "test"
    counts = train.counts(len(source.names))
    normalise = Normalisation(*data.normalisation) if data.normalisation else normalisation(Path(source.name).stem)
    if isinstance(train, PixelSplit):
        size = data.image_size or min(CROP, data.pixels.short_side or min(train.images[0].size))
        presets = data.views or ("photometric",)
        return PreparedPixels(source, train, checked, name, test, counts, size, normalise, presets, data.pixels)
    train, checked, test = (stack_if_small(split) for split in (train, checked, test))
    size = data.image_size or (train.images.pixels.shape[-1] if isinstance(train.images, Stacked) else 224)
    usual = "shift" if source.name == "digits" else "crop_flip" if size <= SMALL else "resized_crop_flip"
    made = PreparedMultiLabel if isinstance(train, MultiLabelSplit) else PreparedImages
    return made(source, train, checked, name, test, counts, size, normalise, data.views or (usual,))


def torn_groups(prepared: Prepared) -> dict[str, list[str]]:
    """The groups of the training images that a split of the source has too, by split; nothing where there are none."""
    shared = {name: prepared.train.shared_groups(split) for name, split in prepared.splits().items() if name != "train"}
    return {name: groups for name, groups in shared.items() if groups}


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
