"""Where data comes from: `open_source` reads any kind of source by its spec; one file here for each kind."""

import difflib
from pathlib import Path

from tailwise.data.source import Source
from tailwise.data.sources.benchmarks import IMAGENET_LT, INATURALIST18, PLACES_LT, open_benchmark
from tailwise.data.sources.cifar import open_cifar
from tailwise.data.sources.digits import open_digits
from tailwise.data.sources.folder import open_folder
from tailwise.data.sources.listing import open_csv, open_listing
from tailwise.data.sources.parquet import open_parquet
from tailwise.types import TailwiseError

BENCHMARKS = {benchmark.name: benchmark for benchmark in (IMAGENET_LT, PLACES_LT, INATURALIST18)}
NAMED = ("digits", "cifar10", "cifar100", *BENCHMARKS)


def open_source(
    spec: str | Path,
    *,
    strict: bool = False,
    issues_path: str | Path | None = None,
    download_root: str | Path = "~/.cache/tailwise",
) -> Source:
    """The data set that ``spec`` names.

    - ``digits``: handwritten digits from scikit-learn; ``cifar10``, ``cifar100``: downloaded to ``download_root``;
    - ``imagenet_lt``, ``places_lt``, ``inaturalist18``: lists and images that lie in ``download_root/NAME``;
    - a ``.parquet`` file, or a folder of them; a folder of class folders; a ``.txt`` listing; a ``.csv`` file.

    Files are checked on the way (`tailwise.data.checks.examine`): bad samples are skipped and counted, their list is
    written to ``issues_path``, and more than 1 % of them (``strict``: one) are refused.
    Raises `TailwiseError`, one line, for a source that is not there or cannot be used.
    """
    if spec == "digits":
        return open_digits()
    if spec in ("cifar10", "cifar100"):
        return open_cifar(str(spec), Path(download_root).expanduser())
    if spec in BENCHMARKS:
        root = Path(download_root).expanduser() / str(spec)
        return open_benchmark(BENCHMARKS[str(spec)], root, strict=strict, issues_path=issues_path)
    path = Path(spec).expanduser()
    if not path.exists():
        raise TailwiseError(f"no such data: {str(spec)!r} is neither a path nor one of {', '.join(NAMED)}; {_advice(spec)}")
    if path.is_dir():
        open_it = open_parquet if any(path.glob("*.parquet")) else open_folder
        return open_it(path, strict=strict, issues_path=issues_path)
    readers = {".parquet": open_parquet, ".txt": open_listing, ".csv": open_csv}
    if path.suffix.lower() not in readers:
        raise TailwiseError(f"{path}: not a folder, a .parquet, a .txt listing or a .csv file; convert it to one of them")
    return readers[path.suffix.lower()](path, strict=strict, issues_path=issues_path)


def _advice(spec: str | Path) -> str:
    path = Path(spec).expanduser()
    siblings = sorted(str(path.parent / found.name) for found in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(str(path), [*NAMED, *siblings], n=1)
    return f"did you mean {near[0]!r}?" if near else "check the spelling"
