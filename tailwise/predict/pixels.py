"""The masks that a trained network for pixels gives to images, as PNG files, with overlays."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tailwise.data.augment.pixels import read_whole
from tailwise.data.cells import guarded
from tailwise.data.source import Encoded
from tailwise.data.sources.folder import SUFFIXES
from tailwise.data.views import Normalisation
from tailwise.inference import Size, Sliding, classes_at
from tailwise.models.saved import Saved
from tailwise.report.colours import colours, hexadecimal
from tailwise.types import TailwiseError

CLASSES, SKIPPED = "classes.csv", "skipped.csv"


@dataclass(frozen=True)
class Predicted:
    """What `segment` did: where, for how many images, and which were skipped and why."""

    out: Path
    images: int
    skipped: tuple[tuple[Path, str], ...]


def segment(
    run: str | Path,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    overlay: bool = True,
    window: Size | Literal["run", "whole"] = "run",
    stride: Size | None = None,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    batch: int = 1,
) -> Predicted:
    """Segment images with a finished run; of a folder all images in it, at any depth.

    ``OUT/NAME.png`` holds the class numbers at the size of the image: 8 bits with a palette, or 16 bits for more than 256
    classes. NAME is the path inside the folder that was given, without its ending. ``OUT/NAME_overlay.jpg`` is the image
    under its mask; ``OUT/classes.csv`` has number, name, colour and share of all predicted pixels of each class. Images
    that cannot be read are left out and listed in ``OUT/skipped.csv``.

    ``window``, ``stride``, ``scales``, ``flip``, ``batch``: see `tailwise.inference.Sliding`; "run" is the window that the
    run was judged with. Uses a GPU where there is one. Raises `TailwiseError` for a run that is not for pixels, paths
    without an image or not one that can be read, outputs that would replace one another or an input, and a full disk.
    """
    model, folder = Saved(run).eval(), Path(out)
    about = _about(model, run)
    own: Size | None = tuple(about["pixels"]["window"] or ()) or None
    how = Sliding({"run": own, "whole": None}[window] if isinstance(window, str) else window, stride, scales, flip, batch)
    named = _named(_files(paths, folder), folder)
    normalise = Normalisation(*(tuple(about["normalisation"][key]) for key in ("mean", "std")))
    model = model.cuda() if torch.cuda.is_available() else model
    device = next(model.parameters()).device
    palette, total = colours(model.classes), np.zeros(model.classes, dtype=np.int64)
    skipped: list[tuple[Path, str]] = []
    for done, (name, path) in enumerate(named.items(), start=1):
        files = Encoded([path])
        try:
            picture, pixels = files[0], read_whole(files, 0, about["pixels"]["short_side"])
        except TailwiseError as error:
            skipped.append((path, str(error)))
            print(f"skipped: {error}", file=sys.stderr)
            continue
        scores = how(model, normalise(pixels.to(device)))
        mask = classes_at(scores, (picture.height, picture.width)).cpu().numpy()
        total += np.bincount(mask.ravel(), minlength=model.classes)
        _write(folder / f"{name}.png", _mask(mask, palette))
        if overlay:
            shown = Image.blend(picture, Image.fromarray(palette[mask]), 0.5)
            _write(folder / f"{name}_overlay.jpg", shown)
        if done % -(-len(named) // 20) == 0:  # a line per twentieth
            print(f"{done} of {len(named)} images", file=sys.stderr)
    if len(skipped) == len(named):
        raise TailwiseError(f"predict: none of the {len(named)} images can be read; the first: {skipped[0][1]}")
    shares = (total / total.sum()).tolist()
    rows = zip(range(model.classes), about["classes"], map(hexadecimal, palette), (f"{s:.6f}" for s in shares), strict=True)
    _table(folder / CLASSES, ("class", "name", "colour", "share"), rows)
    (folder / SKIPPED).unlink(missing_ok=True)  # of the last time
    if skipped:
        _table(folder / SKIPPED, ("path", "problem"), skipped)
    return Predicted(folder, len(named) - len(skipped), tuple(skipped))


def _about(model: Saved, run: str | Path) -> dict[str, Any]:
    """What the run says about itself, once it is sure to be one for pixels."""
    if "decoder" not in model.about["network"]:
        raise TailwiseError(f"{run}: its network classifies whole images; predict is for runs that segment pixels")
    if missing := [key for key in ("pixels", "normalisation", "classes") if key not in model.about]:
        raise TailwiseError(f"{run}: its model.json says nothing about {' and '.join(missing)}; train the run again")
    return model.about


def _files(paths: Sequence[str | Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """Each image with its path below what was given; files in OUT are of an earlier time."""
    for given in map(Path, paths):
        if given.is_file():
            yield Path(given.name), given
        elif given.is_dir():
            for file in sorted(given.rglob("*")):
                inside = file.relative_to(given)
                if file.suffix.lower() not in SUFFIXES or not file.is_file():  # first, as links may go in circles
                    continue
                hidden = any(part.startswith(".") for part in inside.parts)
                earlier = out.resolve() != given.resolve() and file.resolve().is_relative_to(out.resolve())
                if not hidden and not earlier:
                    yield inside, file
        else:
            raise TailwiseError(f"{given}: no such file or folder; give images or folders of them")


def _named(files: Iterable[tuple[Path, Path]], out: Path) -> dict[str, Path]:
    """The image of each name, which is a path without ending; raises for none, and where an output would replace something."""
    named: dict[str, Path] = {}
    for inside, file in files:
        name = inside.with_suffix("").as_posix()
        if (other := named.setdefault(name, file)) != file:
            raise TailwiseError(f"predict: {other} and {file} would both be written to {out / name}.png; rename one")
    if not named:
        raise TailwiseError(f"predict: no image found; files must end in {', '.join(sorted(SUFFIXES))}")
    inputs = {file.resolve() for file in named.values()}
    for name, file in named.items():
        for target in (out / f"{name}.png", out / f"{name}_overlay.jpg"):
            if target.resolve() in inputs:
                raise TailwiseError(f"predict: what {file} gives would replace the image {target}; give another --out")
    return named


def _mask(classes: NDArray[np.int64], palette: NDArray[np.uint8]) -> Image.Image:
    """Class numbers (H, W) as an image: 8 bits with a palette, or 16."""
    if len(palette) > 256:
        return Image.fromarray(classes.astype(np.uint16))
    image = Image.fromarray(classes.astype(np.uint8))
    image.putpalette(palette.tobytes())
    return image


def _write(path: Path, image: Image.Image) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90)  # which PNG does not have
    except OSError as error:
        raise _unwritten(path, error) from error


def _table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([guarded(str(cell)) for cell in row] for row in rows)
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> TailwiseError:
    return TailwiseError(f"{path}: could not be written ({error.strerror or error}); free some space or give another --out")
