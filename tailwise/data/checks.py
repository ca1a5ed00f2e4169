"""Opening image files with care: every image is looked at once, and what cannot be used is skipped, listed and counted."""

import csv
import hashlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from tailwise.data.cells import guarded
from tailwise.data.multilabel import MultiLabelSplit, indicators, rarest_label
from tailwise.data.source import SMALL, Encoded, Images, Issue, Source, Split, Stacked, check_names, content_hash, to_rgb
from tailwise.files import write_whole
from tailwise.types import TailwiseError

TOLERATED = 0.01
"""The share of bad samples above which a source is refused."""

_PRECEDENCE = ("test", "val", "train")  # of two equal images, the split named first keeps its copy
_TASK = 256  # images per task of the thread pool: small images decode faster than a task starts

S = TypeVar("S")
T = TypeVar("T")


class TooManyBad(TailwiseError):
    """A source with more bad samples than may be passed over; ``source`` is what the others make."""

    def __init__(self, message: str, source: Source) -> None:
        super().__init__(message)
        self.source = source


@dataclass(frozen=True)
class Sample:
    """One labelled image of a source, not yet looked at."""

    path: str  # what reports call it
    label: int | frozenset[int]  # its class, or its classes where an image may have any number of them
    data: Path | bytes | None  # the file, or its content; None when the source names an image and has none
    group: str | None = None


@dataclass(frozen=True)
class Look:
    """What one look at an image found: its digest, or the problem that makes it useless."""

    problem: str = ""
    digest: bytes = b""
    size: tuple[int, int] = (0, 0)
    pixels: np.ndarray | None = None  # (H, W, 3) uint8 of an image with sides ≤ SMALL


def decoded(sample: Sample) -> Look:
    """The close look: the image is read and decoded whole. Digest: the SHA-256 of its bytes."""
    content, problem = content_of(sample.data)
    if problem:
        return Look(problem)
    digest = hashlib.sha256(content).digest()
    try:
        with Image.open(io.BytesIO(content)) as image:
            size = image.size
            if max(size) > SMALL:
                image.draft("L", (1, 1))  # a JPEG's cheapest full read; other formats ignore it
                image.load()
                return Look("", digest, size)
            return Look("", digest, size, np.asarray(image if image.mode == "RGB" else to_rgb(image)))
    except Exception as error:  # decoders raise anything on damaged files: OSError, SyntaxError, struct.error, …
        return Look(problem_of(error))


def content_of(item: Path | bytes | None) -> tuple[bytes, str]:
    """The bytes of an item, or what keeps them from being read: one of the two is empty."""
    if item is None:
        return b"", "missing"
    try:
        if not isinstance(item, bytes) and item.exists() and not item.is_file():  # a pipe would be waited for, for ever
            return b"", "not a file"
        content = item if isinstance(item, bytes) else item.read_bytes()
    except FileNotFoundError:
        return b"", "missing"
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        return b"", f"unreadable: {error}"
    return content, "" if content else "empty file"


def problem_of(error: Exception) -> str:
    """What a decoder's error says of an image."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return "truncated" if "truncated" in str(error).lower() else f"unreadable: {error}"


def present(sample: Sample) -> Look:
    """The cheap look: there is a file and it is not empty; nothing of it is read, so a damaged image passes.

    Such an image stops the run when it is drawn. Digest: the SHA-256 of the path as the source calls it and of the
    file's size; so an image that is listed twice is a duplicate, and equal files of two names are not.
    """
    if not isinstance(sample.data, Path):
        return decoded(sample)
    try:
        status = os.stat(sample.data)
    except (FileNotFoundError, NotADirectoryError):
        return Look("missing")
    except (OSError, ValueError) as error:
        return Look(f"unreadable: {error}")
    if not stat.S_ISREG(status.st_mode):
        return Look("not a file")
    if status.st_size == 0:
        return Look("empty file")
    return Look("", hashlib.sha256(f"{sample.path}\n{status.st_size}".encode(errors="surrogateescape")).digest())


def examine(
    name: str,
    names: Sequence[str],
    samples: Mapping[str, Sequence[Sample]],
    *,
    strict: bool = False,
    issues_path: str | Path | None = None,
    look: Callable[[Sample], Look] = decoded,
    advice: str = "",
) -> Source:
    """The source made of the usable ``samples`` of each split; small images of one size are kept as pixels.

    Skipped and listed in ``issues``: missing, empty, truncated, unreadable files, files that are no image, and exact
    duplicates (equal bytes). Of two equal images in one split the first stays; test keeps its copy before val, val
    before train, so that nothing trained on is tested on. With ``issues_path`` the list is also written there.
    ``look`` says how closely each image is looked at: `decoded`, or `present` for sets too large to be read at every
    start. ``advice`` ends the refusal of too many bad samples.
    Raises `TooManyBad` when more than 1 % of all samples are bad (``strict``: one), and `TailwiseError` when fewer than
    two classes have training images, when val or test has a class that train lacks, and when a class loses its last one.
    """
    check_names(name, names)
    looks = {split: look_at_all(look, of_split) for split, of_split in samples.items()}
    kept, issues = sort_out(samples, looks)
    if issues and issues_path is not None:
        write_issues(issues, issues_path)
    parts, hashed = {}, {}
    for split, of_split in samples.items():
        chosen = [of_split[i] for i in kept[split]]
        seen = [looks[split][i] for i in kept[split]]
        parts[split] = _split(_images(chosen, seen), chosen, len(names))
        hashed[split] = (parts[split].targets(torch.arange(len(chosen))), [found.digest for found in seen])
    source = Source(name, tuple(names), parts, tuple(issues), content_hash(hashed))
    refuse_if_many(source, sum(map(len, samples.values())), strict, issues_path, advice)
    _check_classes(source, samples["train"])
    return source


def write_issues(issues: Iterable[Issue], path: str | Path) -> None:
    """Writes ``path,split,problem``, one line for each skipped sample; makes the folder where there is none.

    Cells are `tailwise.data.cells.guarded`. Raises `TailwiseError` when it cannot be written.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["path", "split", "problem"])
    writer.writerows(map(guarded, (issue.path, issue.split, issue.problem)) for issue in issues)
    write_whole(Path(path), table.getvalue().encode(errors="backslashreplace"))  # a path need not be text


def look_at_all(look: Callable[[S], T], samples: Sequence[S], task: int = _TASK) -> list[T]:
    """``look`` at every sample, in their order, by a few threads that take ``task`` samples at a time."""
    tasks = [samples[i : i + task] for i in range(0, len(samples), task)]
    with warnings.catch_warnings(), ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        warnings.simplefilter("ignore")  # Pillow warns about odd metadata of images that it reads well
        return [found for part in pool.map(lambda part: [look(sample) for sample in part], tasks) for found in part]


def sort_out(
    samples: Mapping[str, Sequence[Sample]], looks: Mapping[str, Sequence[Look]]
) -> tuple[dict[str, list[int]], list[Issue]]:
    """Positions of the usable samples by split, and the issues of the others."""
    kept: dict[str, list[int]] = {split: [] for split in samples}
    issues: list[Issue] = []
    first: dict[bytes, tuple[str, Sample]] = {}
    for split in sorted(samples, key=_PRECEDENCE.index):
        for i, (sample, look) in enumerate(zip(samples[split], looks[split], strict=True)):
            if look.problem:
                issues.append(Issue(sample.path, split, look.problem))
            elif look.digest in first:
                where, other = first[look.digest]
                same = "duplicate" if other.label == sample.label else "duplicate with another label"
                issues.append(Issue(sample.path, split, f"{same}: equals {other.path} in {where}"))
            else:
                first[look.digest] = (split, sample)
                kept[split].append(i)
    return kept, issues


def refuse_if_many(source: Source, total: int, strict: bool, path: str | Path | None, advice: str) -> None:
    """Raises `TooManyBad` when more than `TOLERATED` of all samples are bad (``strict``: one); ``path`` has the list."""
    issues = [issue for issue in source.issues if issue.path]  # a note on a whole split has no path
    if not issues or (not strict and len(issues) <= TOLERATED * total):
        return
    listed = f"; the list is in {path}" if path is not None else ""
    limit = "none is allowed with strict" if strict else f"at most {TOLERATED:.0%} may be"
    raise TooManyBad(
        f"{source.name}: {len(issues)} of {total} images are bad, {limit}; first: {issues[0].path} ({issues[0].problem})"
        + listed
        + (f"; {advice}" if advice else ""),
        source,
    )


def _split(images: Images, samples: Sequence[Sample], classes: int) -> Split:
    """The part that these samples make."""
    groups = tuple(sample.group or "" for sample in samples) if any(sample.group for sample in samples) else None
    paths = tuple(sample.path for sample in samples)
    if any(isinstance(sample.label, frozenset) for sample in samples):
        positives = indicators([label for sample in samples if isinstance(label := sample.label, frozenset)], classes)
        return MultiLabelSplit(images, rarest_label(positives), groups, paths, positives=positives)
    return Split(images, torch.tensor([sample.label for sample in samples], dtype=torch.int64), groups, paths)


def _images(samples: Sequence[Sample], looks: Sequence[Look]) -> Images:
    """Pixels in memory when all images are small and of one size, else the files or their bytes."""
    arrays = [look.pixels for look in looks if look.pixels is not None]
    if arrays and len(arrays) == len(looks) and len({look.size for look in looks}) == 1:
        return Stacked(torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous())
    return Encoded([sample.data for sample in samples if sample.data is not None])


def _check_classes(source: Source, given: Sequence[Sample]) -> None:
    """Refuse classes that cannot be trained; ``given`` are the training samples before the bad ones were left out."""
    name, names, parts = source.name, source.names, source.splits
    trained = parts["train"].counts(len(names))
    wanted = {c for sample in given for c in ([sample.label] if isinstance(sample.label, int) else sample.label)}
    if lost := sorted(wanted - set(trained.nonzero()[:, 0].tolist())):
        raise TailwiseError(f"{name}: class {names[lost[0]]!r} has no usable training image left; repair or remove it")
    if int((trained > 0).sum()) < 2:
        raise TailwiseError(f"{name}: fewer than two classes have training images; add another class")
    for split, part in parts.items():
        if (lacking := ((part.counts(len(names)) > 0) & (trained == 0)).nonzero()).numel():
            raise TailwiseError(
                f"{name}: class {names[int(lacking[0])]!r} is in {split} but not in train; add training images or remove it"
            )
