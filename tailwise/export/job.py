"""From a run to a checked file."""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.counts import absent
from tailwise.export.formats import FORMATS, KEY, Deployed, NotConverted, Rerun, Sides
from tailwise.inference import Size
from tailwise.losses.binary_cross_entropy import log_odds
from tailwise.models import DenseNetwork, Saved
from tailwise.models.saved import WEIGHTS
from tailwise.priors import adjust
from tailwise.types import TailwiseError

TOLERANCE = 1e-4
"""Largest difference of a logit between file and run where logits lie within ±1; in proportion to the largest elsewhere."""
NEVER = -1e9
"""Added to the logit of a class that training lacked: JSON has no infinity."""
NEEDED = ("classes", "image_size", "normalisation", "carried_log_prior")
ALSO_NEEDED = {"multilabel": ("train_counts", "train_samples")}
"""Keys of ``model.json``: of any run, and of some tasks."""


@dataclass(frozen=True)
class Exported:
    """What `export` wrote, what the file says of itself, and its ``difference`` from the run, see `TOLERANCE`."""

    path: Path
    metadata: dict[str, Any]
    difference: float


def export(
    run: str | Path, form: str = "onnx", out: str | Path | None = None, *, size: Size | None = None, overwrite: bool = False
) -> Exported:
    """Write the model of a finished run into one file, checked against the run before it gets its name.

    ``form`` is "onnx" (.onnx), "torch" (.pt2, a torch.export program) or "safetensors" (weights alone). ``out`` is by
    default RUN/NAME with that ending, NAME the run's. Input are normalised images (N, 3, H, W) float32, N free; output
    are logits (N, C), for pixels (N, C, H, W). H and W of images are the run's ``image_size``. For pixels they are any
    multiples of the encoder's stride, or fixed, where ``size`` is given or the format needs it (UPerNet in ONNX): to
    ``size``, else to the window that the run was judged with, else to the training crop. The file holds `metadata`.

    Raises `TailwiseError` for what is no finished run or no format, a missing library, a file that is there without
    ``overwrite``, a network that the format cannot say, and a file whose logits differ from the run's: it is not kept.
    """
    if form not in FORMATS:
        raise TailwiseError(f"export: format {form!r} unknown; take {', '.join(FORMATS)}")
    suffix, write = FORMATS[form]
    path = _target(Path(run), suffix, out, overwrite)
    saved = Saved(run).eval()
    if lacking := [key for key in (*NEEDED, *ALSO_NEEDED.get(_task(saved), ())) if key not in saved.about]:
        raise TailwiseError(f"{run}: its model.json says nothing about {' and '.join(lacking)}; train the run again")
    deployed = Deployed(saved.network).eval()
    *better, last = _sides(saved, size)
    for sides in better:
        try:
            return _checked(path, deployed, sides, write, metadata(saved, sides))
        except NotConverted:  # the next one asks for less
            continue
    return _checked(path, deployed, last, write, metadata(saved, last))


def metadata(saved: Saved, sides: Sides) -> dict[str, Any]:
    """What ``model.json`` says (classes, normalisation, the prior that the logits carry, …), and what a reader needs beside it.

    - ``tailwise``: version; ``task``: "images", "multilabel" (images of several labels or none) or "pixels".
    - ``input``: name, layout, colours, type; ``size`` [H, W], or null with ``multiple_of``; ``short_side`` that an image is
      resized to, bilinear with antialiasing, null for as it is. Of that ``image_size`` × ``image_size`` are cut from the
      middle, 8/7 being the field's 256 to 224; an image that has this size already stays as it is. Pixels are not cut.
    - ``output``: name, layout.
    - ``probabilities``: "softmax", or of a multi-label run "sigmoid" of each logit.
    - ``to_uniform`` (C,): added to the logits, their softmax p is for classes that are equally frequent. ``calibration``:
      calibrated it is in proportion to ``p^scale · e^bias``. Of a multi-label run their sigmoid is for classes that are each
      in half of the images; with ``train_log_odds`` (C,) added too, for images as those of training.
    """
    about = saved.about
    task = _task(saved)
    pixels = task == "pixels"
    counts = torch.tensor(about.get("train_counts") or [1] * saved.classes)  # of a converted checkpoint they are unknown
    shift = adjust(torch.zeros(saved.classes).double(), torch.tensor(about["carried_log_prior"]), absent=absent(counts))
    return {
        **about,
        KEY: _version(),
        "task": task,
        "input": {
            "name": "images",
            "layout": "NCHW",
            "colours": "RGB",
            "type": "float32",
            "size": None if sides.step else list(sides.size),
            "multiple_of": sides.step,
            "short_side": about["pixels"]["short_side"] if pixels else round(about["image_size"] * 8 / 7),
        },
        "output": {"name": "logits", "layout": "NCHW" if pixels else "NC"},
        "to_uniform": shift.clamp(min=NEVER).tolist(),
        **_probabilities(about, task),
    }


def _task(saved: Saved) -> str:
    return "pixels" if isinstance(saved.network, DenseNetwork) else str(saved.about.get("task", "images"))


def _probabilities(about: Mapping[str, Any], task: str) -> dict[str, Any]:
    """How logits become probabilities, once ``to_uniform`` is added."""
    if task == "multilabel":
        odds = log_odds(torch.tensor(about["train_counts"]), about["train_samples"])
        return {"probabilities": "sigmoid", "train_log_odds": odds.tolist()}
    identity = {"method": "identity", "scale": 1.0, "bias": 0.0}
    return {"probabilities": "softmax", "calibration": about.get("calibration") or identity}


def _sides(saved: Saved, size: Size | None) -> list[Sides]:
    """What may be asked of a format, the best first."""
    about, model = saved.about, saved.network
    if not isinstance(model, DenseNetwork):
        if size is not None:
            raise TailwiseError("export: the sides of images are those that the run was trained with; leave --size out")
        return [Sides((about["image_size"],) * 2)]
    if size is not None:
        return [Sides(size)]
    side = tuple(about["pixels"]["window"] or (about["image_size"],) * 2)
    return [Sides(side, model.backbone.multiple), Sides(side)]


def _target(run: Path, suffix: str, out: str | Path | None, overwrite: bool) -> Path:
    path = run / f"{run.resolve().name}{suffix}" if out is None else Path(out)
    if path.suffix != suffix:
        raise TailwiseError(f"export: {path} must end in {suffix}; change --out or --format")
    if path.resolve() == (run / WEIGHTS).resolve():
        raise TailwiseError(f"export: {path} is the run's own file; choose another --out")
    if path.exists() and not overwrite:
        raise TailwiseError(f"export: {path} exists already; choose another --out, or pass --overwrite")
    return path


def _checked(path: Path, deployed: Deployed, sides: Sides, write: Any, about: dict[str, Any]) -> Exported:
    """Written beside its place, compared with the run, and moved there in one step."""
    shapes = [(n, *sides.size) for n in ((1, 2) if about["task"] == "pixels" else (1, 2, 7))]
    if sides.step is not None:
        shapes += [(7, *sides.traced), (1, 5 * sides.step, sides.step)]
    with _whole(path) as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch, about its own exporter
        rerun = write(deployed, sides, json.dumps(about, ensure_ascii=False), temporary)
        # Not max: it would pass over a NaN
        difference = float(torch.tensor([_difference(deployed, rerun, shape, about) for shape in shapes]).max())
        if not difference <= TOLERANCE:
            raise TailwiseError(
                f"export: the file's logits differ from the run's by {difference:.1e}, more than {TOLERANCE:g}, "
                "so none was written; try another --format"
            )
    return Exported(path, about, difference)


def _difference(deployed: Deployed, rerun: Rerun, shape: tuple[int, ...], about: Mapping[str, Any]) -> float:
    images = _pictures(shape, about)
    wanted, found = deployed(images), rerun(images)
    if found.shape != wanted.shape:
        return float("nan")
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))


def _pictures(shape: tuple[int, ...], about: Mapping[str, Any]) -> Tensor:
    """Noise and smooth pictures in turn, (N, 3, H, W), as the model sees them."""
    n, *sides = shape
    draw = torch.Generator().manual_seed(n)
    pixels = torch.rand(n, 3, *sides, generator=draw)
    if n > 1:
        coarse = torch.rand(n // 2, 3, 4, 4, generator=draw)
        pixels[1::2] = F.interpolate(coarse, sides, mode="bilinear")
    mean, std = (torch.tensor(about["normalisation"][key])[:, None, None] for key in ("mean", "std"))
    return (pixels - mean) / std


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that takes its place at the end, or is removed."""
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        advice = "free some space or give another --out"
        raise TailwiseError(f"{path}: could not be written ({error.strerror or error}); {advice}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _version() -> str:
    try:
        return version("tailwise")
    except PackageNotFoundError:  # run from its sources
        return "not installed"
