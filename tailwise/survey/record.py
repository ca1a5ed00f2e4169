"""All that can be said of a data set before training, as one record of plain values."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tailwise.counts import imbalance_factor, shot_groups
from tailwise.data import Issue, MultiLabelSplit, PixelSplit, Source, Split, checks, open_source
from tailwise.metrics import segmentation, shots
from tailwise.survey.alike import Alike, called, find
from tailwise.survey.look import Looked, Progress, look
from tailwise.survey.recommend import recommend
from tailwise.train.multilabel import TASK
from tailwise.types import TailwiseError

ORDER = ("train", "val", "test")

COLOURLESS = 8
"""A thumbnail whose channels differ by at most so many levels has no colour; compression alone makes a few."""


@dataclass(frozen=True)
class Survey:
    """What was found.

    ``record`` holds plain JSON values: ``source``, ``task`` ("images", "multilabel" or "pixels"), ``sha256``, ``refused`` (why
    `fit` would not take it, or None), ``splits``, ``classes`` (a row for each), ``edges`` of their groups, ``images`` (sizes,
    how they are stored), ``groups``, ``alike`` (copies and near duplicates), ``skipped`` and ``advice``. ``alike`` here has the
    pairs by number, so that their images can be shown.
    """

    source: Source
    record: Mapping[str, Any]
    alike: Alike

    def image(self, number: int) -> Image.Image:
        """An image by its number: splits one after the other, train first."""
        for name in ORDER:
            split = self.source.splits.get(name)
            size = 0 if split is None else len(split.labels)
            if split is not None and number < size:
                return split.images[number]
            number -= size
        raise IndexError(number)


def survey(
    spec: str | Path,
    *,
    download_root: str | Path = "~/.cache/tailwise",
    ignore: int | None = None,
    progress: Progress = lambda done: None,
) -> Survey:
    """Look at every image of what `tailwise.data.open_source` opens. It reads alone, and where it may, keeps what masks hold.

    A source with more bad images than `fit` tolerates is looked at all the same, and ``refused`` says so. ``progress`` is told
    how many more images were read. Raises `TailwiseError` for a source that cannot be opened at all.
    """
    try:
        source = open_source(spec, download_root=download_root, ignore=ignore)
    except checks.TooManyBad as refused:  # they are what a survey is there to show
        source = refused.source
    names = [name for name in ORDER if name in source.splits]
    splits = {name: source.splits[name] for name in names}
    looked = {name: look(split, progress) for name, split in splits.items()}
    issues = [*source.issues, *_unreadable(splits, looked)]
    for name in names:
        rows = np.array([i for i, problem in enumerate(looked[name].problems) if not problem], dtype=np.int64)
        splits[name], looked[name] = splits[name].subset(torch.from_numpy(rows)), looked[name].subset(rows)
    if not len(splits["train"].labels):
        raise TailwiseError(f"{spec}: none of the training images can be read; first: {issues[0].path} ({issues[0].problem})")
    source = replace(source, splits=splits)
    alike = find(splits, looked, source.names, source.issues)
    pixels = isinstance(splits["train"], PixelSplit)
    record: dict[str, Any] = {
        "source": str(spec),
        "task": _task(splits["train"]),
        "sha256": source.sha256,
        "refused": _refusal(splits, issues),
        "splits": {name: _split(split, source.names) for name, split in splits.items()},
        "classes": _classes(splits, source.names),
        "edges": segmentation.EDGES if pixels else shots.EDGES,
        "images": _images(looked.values()),
        "groups": _groups(splits, source.names),
        "alike": alike.record,
        "skipped": {
            "by_problem": dict(Counter(_kind(issue.problem) for issue in issues).most_common()),
            "files": [{"path": issue.path, "split": issue.split, "problem": issue.problem} for issue in issues],
        },
    }
    return Survey(source, record | {"advice": recommend(source, record)}, alike)


def _task(train: Split) -> str:
    kinds = {PixelSplit: "pixels", MultiLabelSplit: TASK}
    return kinds.get(type(train), "images")


def _refusal(splits: Mapping[str, Split], issues: Sequence[Issue]) -> str | None:
    """Why `fit` would not take the source."""
    bad = sum(1 for issue in issues if issue.path)  # a note on a whole split has no path
    total = bad + sum(len(split.labels) for split in splits.values())
    if bad <= checks.TOLERATED * total:
        return None
    return f"{bad} of {total} images are bad, at most {checks.TOLERATED:.0%} may be"


def _unreadable(splits: Mapping[str, Split], looked: Mapping[str, Looked]) -> list[Issue]:
    """What opening the source did not notice: large benchmarks are not decoded at the start."""
    return [
        Issue(called(split, name, i), name, problem)
        for name, split in splits.items()
        for i, problem in enumerate(looked[name].problems)
        if problem
    ]


def _kind(problem: str) -> str:
    """A problem without what belongs to one file."""
    return problem.split(":")[0]


def _split(split: Split, names: Sequence[str]) -> dict[str, Any]:
    counts = split.counts(len(names))
    return {
        "images": len(split.labels),
        "imbalance_factor": round(imbalance_factor(counts), 2),
        "absent": [name for name, count in zip(names, counts.tolist(), strict=True) if count == 0],
    }


def _classes(splits: Mapping[str, Split], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each class: its group by training counts, its images in each split, or its pixels and the images with any."""
    train = splits["train"]
    counts = {name: split.counts(len(names)).tolist() for name, split in splits.items()}
    by_count = segmentation.pixel_groups if isinstance(train, PixelSplit) else shot_groups
    group_of = {int(c): group for group, mask in by_count(train.counts(len(names))).items() for c in mask.nonzero()[:, 0]}
    rows = [{"name": name, "group": group_of[c], **{s: of[c] for s, of in counts.items()}} for c, name in enumerate(names)]
    for split, part in splits.items():
        if isinstance(part, PixelSplit):
            for row, images in zip(rows, (part.pixels > 0).sum(0).tolist(), strict=True):
                row[f"images_in_{split}"] = images
    return rows


def _images(looked: Iterable[Looked]) -> dict[str, Any]:
    """Sizes (width, height), how files are stored, and how many images have no colour."""
    parts = list(looked)
    sizes, thumbnails = (np.concatenate([getattr(one, name) for one in parts]) for name in ("sizes", "thumbnails"))
    short, areas = sizes.min(1), sizes.prod(1)
    spread = np.ptp(thumbnails.astype(np.int16), axis=3).reshape(len(thumbnails), -1)
    stored = Counter(mode for one in parts for mode in one.stored if mode)
    return {
        "number": len(sizes),
        "one_size": bool((sizes == sizes[0]).all()),
        "smallest": sizes[areas.argmin()].tolist(),
        "median_short_side": int(np.median(short)),
        "largest": sizes[areas.argmax()].tolist(),
        "stored": dict(stored.most_common()),
        "colourless": int((spread.max(1) <= COLOURLESS).sum()),
    }


def _groups(splits: Mapping[str, Split], names: Sequence[str]) -> dict[str, Any] | None:
    """What must stay together, where the source says so: bursts, sites, patients."""
    inside: defaultdict[str, set[str]] = defaultdict(set)
    size: Counter[str] = Counter()
    of_class: defaultdict[int, set[str]] = defaultdict(set)
    for name, split in splits.items():
        for group, label in zip(split.groups or (), split.labels.tolist(), strict=bool(split.groups)):
            inside[group].add(name)
            size[group] += 1
            if label < len(names):  # an image without a label has none
                of_class[label].add(group)
    if not inside:
        return None
    (largest, most), across = size.most_common(1)[0], sorted(group for group, found in inside.items() if len(found) > 1)
    return {
        "number": len(inside),
        "largest": {"name": largest, "images": most},
        "of_one_image": sum(1 for n in size.values() if n == 1),
        "classes_in_one_group": [names[c] for c in sorted(of_class) if len(of_class[c]) == 1],
        "across_splits": across,
    }
