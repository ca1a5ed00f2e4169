"""Where data comes from: `open_source` reads any kind of source by its spec; one file here for each kind."""

import difflib
from collections.abc import Callable
from pathlib import Path

from tailwise.data.source import Source
from tailwise.data.sources.ade20k import is_ade20k, open_ade20k
from tailwise.data.sources.annotated import is_annotated, open_annotated
from tailwise.data.sources.benchmarks import IMAGENET_LT, INATURALIST18, PLACES_LT, open_benchmark
from tailwise.data.sources.cifar import open_cifar
from tailwise.data.sources.cityscapes import is_cityscapes, open_cityscapes
from tailwise.data.sources.digits import open_digits
from tailwise.data.sources.folder import open_folder
from tailwise.data.sources.listing import open_csv, open_listing
from tailwise.data.sources.pairs import is_pairs, open_pairs
from tailwise.data.sources.parquet import open_parquet
from tailwise.types import TailwiseError

BENCHMARKS = {benchmark.name: benchmark for benchmark in (IMAGENET_LT, PLACES_LT, INATURALIST18)}
WITH_MASKS = ("camvid", "ade20k", "cityscapes")
NAMED = ("digits", "cifar10", "cifar100", *BENCHMARKS, *WITH_MASKS)


def open_source(
    spec: str | Path,
    *,
    strict: bool = False,
    issues_path: str | Path | None = None,
    download_root: str | Path = "~/.cache/tailwise",
    ignore: int | None = None,
) -> Source:
    """The data set that ``spec`` names.

    - ``digits``: handwritten digits from scikit-learn; ``cifar10``, ``cifar100``: downloaded to ``download_root``;
    - ``imagenet_lt``, ``places_lt``, ``inaturalist18``: lists and images that lie in ``download_root/NAME``; ``camvid``,
      ``ade20k``, ``cityscapes``: images with masks, as below, that lie there;
    - a ``.parquet`` file, or a folder of them; a folder of class folders; a ``.txt`` listing; a ``.csv`` file;
    - images with masks, whose splits are `tailwise.data.pixels.PixelSplit`: parquet files with a column ``annotation``; and
      folders, tried in this order: Cityscapes (``leftImg8bit`` and ``gtFine``), ADE20K (``images/training`` and
      ``annotations/training``, no ``classes.txt``), ``images`` with ``masks``, ``annotations`` or ``labels`` beside it, in the
      folder or in each of its split folders. Any other folder is one of class folders.

    Files are checked on the way (`tailwise.data.checks.examine`, `tailwise.data.pixel_checks.examine_pairs`): bad samples
    are skipped and counted, their list is written to ``issues_path``, and more than 1 % of them (``strict``: one) are
    refused. What was found in masks is kept in ``download_root/pixels``. ``ignore`` is the raw value in masks that means no
    label, where the data set leaves it open.
    Raises `TailwiseError`, one line, for a source that is not there or cannot be used, and for ``ignore`` where it has no
    meaning: without masks, and for ADE20K and Cityscapes, which say it themselves.
    """
    root = Path(download_root).expanduser()
    path = root / spec if spec in WITH_MASKS else Path(spec).expanduser()
    with_masks = None if spec in NAMED and spec not in WITH_MASKS else _reader_of_masks(path)
    if with_masks is not None:
        return with_masks(path, ignore=ignore, strict=strict, issues_path=issues_path, cache=root / "pixels")
    if spec in WITH_MASKS:
        raise TailwiseError(f"{spec}: put its files into {path}, or give the folder that holds them")
    if ignore is not None and (spec in NAMED or path.exists()):
        raise TailwiseError(f"{spec}: has no masks, so ignore={ignore} means nothing; leave it out")
    if spec == "digits":
        return open_digits()
    if spec in ("cifar10", "cifar100"):
        return open_cifar(str(spec), root)
    if spec in BENCHMARKS:
        return open_benchmark(BENCHMARKS[str(spec)], root / str(spec), strict=strict, issues_path=issues_path)
    if not path.exists():
        raise TailwiseError(f"no such data: {str(spec)!r} is neither a path nor one of {', '.join(NAMED)}; {_advice(spec)}")
    if path.is_dir():
        open_it = open_parquet if any(path.glob("*.parquet")) else open_folder
        return open_it(path, strict=strict, issues_path=issues_path)
    readers = {".parquet": open_parquet, ".txt": open_listing, ".csv": open_csv}
    if path.suffix.lower() not in readers:
        raise TailwiseError(f"{path}: not a folder, a .parquet, a .txt listing or a .csv file; convert it to one of them")
    return readers[path.suffix.lower()](path, strict=strict, issues_path=issues_path)


def _reader_of_masks(path: Path) -> Callable[..., Source] | None:
    """What opens images with masks; nothing for any other path."""
    if path.is_dir() and not any(path.glob("*.parquet")):
        kinds = ((is_cityscapes, open_cityscapes), (is_ade20k, open_ade20k), (is_pairs, open_pairs))
        return next((reader for fits, reader in kinds if fits(path)), None)
    parquet = path.is_dir() or (path.is_file() and path.suffix.lower() == ".parquet")
    return open_annotated if parquet and is_annotated(path) else None


def _advice(spec: str | Path) -> str:
    path = Path(spec).expanduser()
    siblings = sorted(str(path.parent / found.name) for found in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(str(path), [*NAMED, *siblings], n=1)
    return f"did you mean {near[0]!r}?" if near else "check the spelling"
