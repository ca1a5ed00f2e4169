"""Looking at images with masks: each pair is decoded once, and what was found is kept for the next start.

At every start each file is read and hashed. Only where these very bytes have not been looked at before are images and
masks decoded too: then damage, sizes and the values in each mask are found, and written to a file named after the hash.
"""

import hashlib
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL

from tailwise.data.checks import Sample, content_of, decoded, look_at_all, problem_of
from tailwise.data.pixels import raw_values
from tailwise.files import write_whole
from tailwise.types import TailwiseError

_RULE = f"tailwise pairs 1, Pillow {PIL.__version__}"  # a new Pillow may read more kinds of files, or read them otherwise
_TASK = 8  # pairs per task of the thread pool


@dataclass(frozen=True)
class Pair:
    """An image with its mask, not yet looked at."""

    path: str  # what reports call it
    image: Path | bytes | None
    mask: Path | bytes | None


@dataclass(frozen=True)
class Files:
    """The SHA-256 of both files of a pair, or the problem that keeps them from being read."""

    problem: str = ""
    image: bytes = b""
    mask: bytes = b""


@dataclass(frozen=True)
class Seen:
    """What a look at a pair found: the values in its mask and how often each occurs, or the problem that makes it useless."""

    problem: str
    values: npt.NDArray[np.int64]  # (k,) increasing
    times: npt.NDArray[np.int64]  # (k,)


def look_at_pairs(pairs: Sequence[Pair], cache: Path | None = None) -> tuple[list[Files], list[Seen]]:
    """Hashes of all pairs, and what is in them: from ``cache``, a folder, where all these bytes were looked at before.

    A cache that cannot be read is made again, one that cannot be written is done without.
    """
    files = look_at_all(_hashed, pairs, _TASK)
    key = hashlib.sha256(_RULE.encode())
    for found in files:
        key.update(f"\n{found.problem}\n".encode(errors="surrogateescape") + found.image + found.mask)
    kept = None if cache is None else cache / f"{key.hexdigest()}.npz"
    if kept is not None and (known := _read(kept, len(pairs))) is not None:
        return files, known
    seen = look_at_all(_seen, list(zip(pairs, files, strict=True)), _TASK)
    if kept is not None:
        with suppress(TailwiseError, OSError):  # a full disk, or a home that is read-only
            write_whole(kept, _packed(seen))
    return files, seen


def _hashed(pair: Pair) -> Files:
    if pair.image is None or pair.mask is None:
        return Files("a mask without image" if pair.image is None else "an image without mask")
    image, problem = content_of(pair.image)
    mask, of_mask = content_of(pair.mask)
    if problem or of_mask:
        return Files(problem or f"mask: {of_mask}")
    return Files("", hashlib.sha256(image).digest(), hashlib.sha256(mask).digest())


def _seen(both: tuple[Pair, Files]) -> Seen:
    pair, files = both
    if files.problem:
        return _useless(files.problem)
    (image, lost), (mask, of_mask) = content_of(pair.image), content_of(pair.mask)
    if lost or of_mask:  # not what these bytes are, so it must not be kept
        raise TailwiseError(f"{pair.path}: could be read, now it cannot ({lost or of_mask}); start again")
    look = decoded(Sample(pair.path, 0, image))
    if look.problem:
        return _useless(look.problem)
    try:
        raw = raw_values(mask)
    except TailwiseError as error:
        return _useless(str(error))
    except Exception as error:  # as in `decoded`
        return _useless(f"mask: {problem_of(error)}")
    (height, width), (image_width, image_height) = raw.shape, look.size
    if (height, width) != (image_height, image_width):
        return _useless(f"the mask has {width} × {height} pixels, the image {image_width} × {image_height}")
    times = np.bincount(raw.ravel())
    values = times.nonzero()[0]
    return Seen("", values, times[values])


def _useless(problem: str) -> Seen:
    none = np.zeros(0, dtype=np.int64)
    return Seen(problem, none, none)


def _packed(seen: Sequence[Seen]) -> bytes:
    out = io.BytesIO()
    ends = np.cumsum([len(found.values) for found in seen])
    values, times = (np.concatenate([getattr(found, part) for found in seen]) for part in ("values", "times"))
    problems = np.array([found.problem.encode(errors="surrogateescape") for found in seen])
    np.savez_compressed(out, problems=problems, ends=ends, values=values, times=times)
    return out.getvalue()


def _read(path: Path, pairs: int) -> list[Seen] | None:
    """What `_packed` wrote about so many pairs; nothing where there is no such file, or it holds something else."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            problems, ends, values, times = (file[name] for name in ("problems", "ends", "values", "times"))
        begins = [0, *ends.tolist()]
        whole = {array.dtype for array in (ends, values, times)} == {np.dtype(np.int64)}
        if not whole or not len(problems) == len(ends) == pairs or not begins[-1] == len(values) == len(times):
            return None
        return [
            Seen(bytes(problem).decode(errors="surrogateescape"), values[begin:end], times[begin:end])
            for problem, begin, end in zip(problems, begins[:-1], begins[1:], strict=True)
        ]
    except Exception:  # NumPy raises anything on damaged files
        return None
