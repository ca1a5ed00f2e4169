"""The large long-tailed benchmarks: ImageNet-LT, Places-LT and iNaturalist 2018, from the files that the community uses.

Nothing is downloaded: the images are given out by their owners only. Lists and images lie in one folder, the images at
the paths that the lists name (a link to where they really are will do). The lists circulate with several layouts of
these paths, so none has one SHA-256 that all copies share; what is checked is what every copy must keep: the number of
images and of classes, the largest and the smallest class, and the order of the classes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tailwise.counts import count_labels
from tailwise.data.checks import Sample, examine, present
from tailwise.data.source import Source
from tailwise.data.sources.annotations import read_annotations
from tailwise.data.sources.listing import read_listing
from tailwise.types import TailwiseError


@dataclass(frozen=True)
class Part:
    """One split of a benchmark: the files that may list it, and what the list must hold."""

    files: Mapping[str, str | None]  # name -> SHA-256 where one is known; the first that is there is read
    images: int
    largest: int  # images of the most frequent class
    smallest: int  # images of the rarest class


@dataclass(frozen=True)
class Benchmark:
    """A published data set: what it must be, and where it comes from."""

    name: str
    classes: int
    parts: Mapping[str, Part]  # "train", "val" where there is one, "test"
    lists: str  # which lists to get, and where: "… from …"
    images: str  # which images to get, and where: "… from …"


_OLTR = "as the data section of github.com/zhmiao/OpenLongTailRecognition-OLTR says"

IMAGENET_LT = Benchmark(
    "imagenet_lt",
    1000,
    {
        "train": Part({"ImageNet_LT_train.txt": None}, 115_846, 1280, 5),
        "val": Part({"ImageNet_LT_val.txt": None}, 20_000, 20, 20),
        "test": Part({"ImageNet_LT_test.txt": None}, 50_000, 50, 50),
    },
    f"ImageNet_LT_train.txt, ImageNet_LT_val.txt and ImageNet_LT_test.txt {_OLTR}",
    "the training and validation images of ILSVRC2012 from image-net.org",
)
"""ImageNet-LT (Liu et al., CVPR 2019): train and val are parts of ILSVRC2012's training images, test is its validation set.

Labels are 0..999 in the order of the WordNet ids. The two archives of ILSVRC2012 take 138 GB and 6.3 GB; the lists name
185,846 of their images. The usual test list wants the validation images in class folders, ``val/n01440764/…JPEG``; their
archive has none.
"""

PLACES_LT = Benchmark(
    "places_lt",
    365,
    {
        "train": Part({"Places_LT_train.txt": None}, 62_500, 4980, 5),
        "val": Part({"Places_LT_val.txt": None}, 7_300, 20, 20),
        "test": Part({"Places_LT_test.txt": None}, 36_500, 100, 100),
    },
    f"Places_LT_train.txt, Places_LT_val.txt and Places_LT_test.txt (the second version) {_OLTR}",
    "the training and validation images of Places365-Standard, 256 × 256, from places2.csail.mit.edu/download.html",
)
"""Places-LT (Liu et al., CVPR 2019): train and val are parts of Places365-Standard's training images, test is its val set.

The lists were replaced once; the numbers here are the second version's. They name 106,300 images of the 1,839,960.
"""

INATURALIST18 = Benchmark(
    "inaturalist18",
    8142,
    {
        "train": Part({"train2018.json": None, "iNaturalist18_train.txt": None, "iNat18_train.txt": None}, 437_513, 1000, 2),
        "test": Part({"val2018.json": None, "iNaturalist18_val.txt": None, "iNat18_val.txt": None}, 24_426, 3, 3),
    },
    "train2018.json and val2018.json from github.com/visipedia/inat_comp/tree/master/2018",
    "the folder train_val2018 from github.com/visipedia/inat_comp/tree/master/2018",
)
"""iNaturalist 2018 (the FGVC5 competition): its validation set is what papers test on, so there is no val split.

Classes are in the order of the category ids, 0..8141. The JSON files name them; ``path label`` lists made from these are
read as well, then classes are called by their numbers. The archive of the images takes 120 GB.
"""


def open_benchmark(benchmark: Benchmark, root: Path, *, strict: bool = False, issues_path: str | Path | None = None) -> Source:
    """The benchmark whose lists lie in ``root``, and whose images lie beneath it at the paths in the lists.

    The lists must hold exactly what was published. Of the images it is only asked whether they are there
    (`tailwise.data.checks.present`): to decode hundreds of thousands would cost minutes at every start, this costs 20 s
    and 1.3 GB for iNaturalist 2018 (two cores, local disk). Missing ones are skipped and listed as
    `tailwise.data.checks.examine` does; a damaged one stops the run when it is read.
    Raises `TailwiseError`, saying what to download from where, for lists that are not there, cannot be read, have another
    SHA-256 than a known one, or differ from what was published; and as `examine`.
    """
    files = _files(benchmark, root)
    listed, names = {}, tuple(str(c) for c in range(benchmark.classes))
    for split, file in files.items():
        _check_digest(benchmark, file, benchmark.parts[split].files[file.name])
        if file.suffix == ".json":
            listed[split], stated = read_annotations(file)
            if len(stated) != benchmark.classes:
                raise _differs(benchmark, file, f"has {len(stated):,} categories", f"{benchmark.classes:,}")
            names = stated if split == "train" else names
        else:
            listed[split] = _labelled(benchmark, file)
        _check_counts(benchmark, benchmark.parts[split], file, [label for _, label in listed[split]])
    _check_order(benchmark, [(files[split], rows) for split, rows in listed.items()])
    samples = {
        split: [Sample(path, label, root / path.lstrip("/")) for path, label in rows]  # OLTR too takes "/a" for "a"
        for split, rows in listed.items()
    }
    advice = f"the lists name files beneath {root}: put {benchmark.images} there"
    return examine(benchmark.name, names, samples, strict=strict, issues_path=issues_path, look=present, advice=advice)


def _files(benchmark: Benchmark, root: Path) -> dict[str, Path]:
    """The list of each split."""
    files = {}
    for split, part in benchmark.parts.items():
        there = [root / name for name in part.files if (root / name).is_file()]
        if not there:
            raise TailwiseError(
                f"{benchmark.name}: no {next(iter(part.files))} in {root}; put there {benchmark.lists}, and "
                f"{benchmark.images}, at the paths that the lists name"
            )
        files[split] = there[0]
    return files


def _labelled(benchmark: Benchmark, file: Path) -> list[tuple[str, int]]:
    """The paths and labels of a ``path label`` list."""
    number = {str(c): c for c in range(benchmark.classes)}
    rows = read_listing(file)
    for row in rows:
        if row.labels[0] not in number:
            have = f"0..{benchmark.classes - 1}"
            raise _differs(benchmark, file, f"has label {row.labels[0]!r} in line {row.line}", have)
    return [(row.path, number[row.labels[0]]) for row in rows]


def _check_digest(benchmark: Benchmark, file: Path, known: str | None) -> None:
    if known is not None and (found := hashlib.sha256(file.read_bytes()).hexdigest()) != known:
        raise _differs(benchmark, file, f"has the SHA-256 {found[:12]}…", f"{known[:12]}…")


def _check_counts(benchmark: Benchmark, part: Part, file: Path, labels: Sequence[int]) -> None:
    counts = count_labels(torch.tensor(labels, dtype=torch.int64), benchmark.classes)
    if len(labels) != part.images:
        raise _differs(benchmark, file, f"has {len(labels):,} images", f"{part.images:,}")
    if (held := int((counts > 0).sum())) != benchmark.classes:
        raise _differs(benchmark, file, f"has images of {held:,} classes", f"of {benchmark.classes:,}")
    for which, found, wanted in (("most", counts.max(), part.largest), ("fewest", counts.min(), part.smallest)):
        if int(found) != wanted:
            c = int((counts == found).nonzero()[0])
            raise _differs(benchmark, file, f"has {int(found):,} images of class {c}, its {which} of one class", f"{wanted:,}")


def _check_order(benchmark: Benchmark, listed: Sequence[tuple[Path, Sequence[tuple[str, int]]]]) -> None:
    """Lists of two makers may number the classes differently, and no count shows it.

    But most layouts have a folder for each class: one that holds a single class in two lists must hold the same in both.
    """
    known: dict[str, tuple[int, Path]] = {}
    for file, rows in listed:
        held: dict[str, set[int]] = {}
        for path, label in rows:
            held.setdefault(path.rpartition("/")[0].rpartition("/")[2], set()).add(label)
        for folder, (label, *others) in held.items():
            if others:
                continue
            first, other = known.setdefault(folder, (label, file))
            if first != label:
                raise TailwiseError(
                    f"{benchmark.name}: folder {folder!r} has label {first} in {other.name} and {label} in {file.name}; "
                    "take all lists from one place"
                )


def _differs(benchmark: Benchmark, file: Path, has: str, should: str) -> TailwiseError:
    return TailwiseError(f"{benchmark.name}: {file.name} {has}, the benchmark {should}; download it again")
