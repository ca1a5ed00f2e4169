"""Classes of a user's images by a trained run: a table with probabilities under a prior that the user chooses."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailwise.data.checks import problem_of
from tailwise.data.source import Encoded
from tailwise.data.views import MultiView, Normalisation, multi_view
from tailwise.files import write_whole
from tailwise.models.saved import ABOUT, WEIGHTS, Saved
from tailwise.predict import tables
from tailwise.predict.inputs import Input, inputs, printable
from tailwise.predict.multilabel import MultiLabel
from tailwise.predict.progress import Progress, progress
from tailwise.predict.rows import Answering, Wishes
from tailwise.predict.single import SingleLabel
from tailwise.predict.store import Store
from tailwise.train.run import locked
from tailwise.types import TailwiseError

DIVERGED = "its logits are not finite: look at the image, and train the run again if there are many such"
"""Why an image that could be read is not in the table."""


@dataclass(frozen=True)
class Classified:
    """What `classify` did: where, for how many images, which could not be read and why, and under which prior."""

    out: Path
    images: int
    skipped: tuple[tuple[Path, str], ...]
    summary: str

    @property
    def unread(self) -> Path:
        """Where the images are listed that could not be read."""
        return _beside(self.out)[1]


def classify(
    run: str | Path,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    top: int | None = None,
    prior: str | Path | None = None,
    per_group: str | None = None,
    sets: float | None = None,
    abstain: float | None = None,
    batch: int = 64,
    overwrite: bool = False,
) -> Classified:
    """Classify images with a finished run; see `tailwise.predict.inputs.inputs` for ``paths``.

    ``out`` is a .csv, .jsonl or .parquet file with a row for each image, in their order: path, group (with ``per_group``),
    class and probability, class_2 and probability_2 … up to ``top``, and the columns of what is asked for. Of a multi-label
    run: path; labels, the classes whose probability is at least one half, the likeliest first; probabilities, theirs; and
    with ``top`` the likeliest classes whatever their probability. Beside it, ``OUT.about.json`` says under which prior,
    with which calibration and thresholds; ``OUT.skipped.csv`` lists what could not be read. Logits are kept in
    ``OUT.part`` until all is written, so the same call goes on where a killed one stopped.

    - ``top``: by default 1, and of a multi-label run none.
    - ``prior``: the class shares that the images are expected to have. "uniform" (default), "train", "estimate" from the
      images, or a CSV file; see `tailwise.predict.targets`. Of a multi-label run "train" (default), "uniform" or a file; it
      has neither estimates nor the following three.
    - ``per_group``: one estimate for each group: "folder", or a column of a CSV listing; ``prior`` must be "estimate".
    - ``sets``: coverage of a prediction set, in the column ``set``; see `tailwise.conformal.thresholds`. The class that is
      predicted is always in it, and a class of share 0 never.
    - ``abstain``: share of false alarms; the column ``abstain`` marks images that look like no class, see
      `tailwise.conformal.least_energy`.
    - ``batch``: images that the network sees at once. ``overwrite``: replace an ``out`` that is there.

    Uses a GPU where there is one. Raises `TailwiseError` for a run that segments pixels, for what cannot be had from this
    run, paths without an image or not one that can be read, an output that is there, and a full disk.
    """
    target = Path(out)
    tables.writer(target)
    if (least := min(1 if top is None else top, batch)) < 1:
        raise TailwiseError(f"predict: top and batch must be at least 1, got {least}")
    if target.exists() and not overwrite:
        raise TailwiseError(f"predict: {target} exists already; choose another --out, or pass --overwrite")
    model = Saved(run).eval()
    answering = _answering(run, model.about, Wishes(top, None if prior is None else str(prior), per_group, sets, abstain))
    listed = inputs(paths, per_group)
    taken = {path.resolve() for path in (*(one.path for one in listed), *map(Path, paths))}
    for path in (target, *_beside(target)):
        if path.resolve() in taken:
            raise TailwiseError(f"predict: {path} is one of the inputs and would be replaced; give another --out")
    part = target.with_name(target.name + ".part")
    with locked(part):
        store = Store(part, _job(Path(run), listed, batch), model.classes, batch)
        try:
            with progress(len(listed), store.done) as shown:
                _look(model, answering, listed, store, batch, shown)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{store.done} of {len(listed)} images are done; the same command goes on") from None
        done = _write(target, answering, listed, store)
        store.remove()
    with suppress(OSError):  # what somebody else has put there stays
        part.rmdir()
    return done


def _answering(run: str | Path, about: dict[str, Any], wishes: Wishes) -> Answering:
    """What this kind of run does with its logits."""
    if "decoder" in about["network"]:
        raise TailwiseError(f"{run}: its network labels pixels, not whole images; see `tailwise.predict.segment`")
    kinds: dict[str, type[Answering]] = {"images": SingleLabel, "multilabel": MultiLabel}
    task = about.get("task", "images")
    if task not in kinds:
        raise TailwiseError(f"{run}: its {ABOUT} says the task {task!r}; this version knows {', '.join(kinds)}")
    return kinds[task](run, about, wishes)


def _job(run: Path, listed: Sequence[Input], batch: int) -> str:
    """What makes rows of two calls comparable: the weights and what is said of them, the images, and how they are batched."""
    digest = hashlib.sha256((run / WEIGHTS).read_bytes())
    digest.update((run / ABOUT).read_bytes())
    digest.update(json.dumps([batch, *(_print(one.path) for one in listed)]).encode())
    return digest.hexdigest()


def _print(path: Path) -> list[str | int]:
    """Where a file is, how large, and when it was written; no more than where for one that is not there."""
    where = printable(os.path.abspath(path))
    with suppress(OSError):
        return [where, (found := path.stat()).st_size, found.st_mtime_ns]
    return [where]


def _look(model: Saved, answering: Answering, listed: Sequence[Input], store: Store, batch: int, shown: Progress) -> None:
    """Append the logits of all images that the store lacks; threads read the next batch while the network sees one."""
    about = answering.about
    normalise = Normalisation(*(tuple(about["normalisation"][key]) for key in ("mean", "std")))
    view = multi_view(["plain"], about["image_size"], normalise)
    network: nn.Module = model.cuda() if torch.cuda.is_available() else model
    device = next(network.parameters()).device
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool, torch.inference_mode():
        for start, read in _ahead(pool, view, listed, store.done, batch):
            problems = {start + i: one for i, one in enumerate(read) if isinstance(one, str)}
            seen = [i for i, one in enumerate(read) if not isinstance(one, str)]
            logits = torch.full((len(read), store.classes), torch.nan)
            if seen:
                views = torch.cat([one for one in read if not isinstance(one, str)], 1)
                found = network(views.to(device)).at_labels().float().cpu()
                lost = ~found.isfinite().all(1)
                problems |= {start + i: DIVERGED for i, bad in zip(seen, lost.tolist(), strict=True) if bad}
                logits[seen] = found.masked_fill(lost[:, None], torch.nan)
            store.append(logits, problems)
            shown(len(read))


def _ahead(
    pool: ThreadPoolExecutor, view: MultiView, listed: Sequence[Input], done: int, batch: int
) -> Iterator[tuple[int, list[Tensor | str]]]:
    """The images from ``done`` on, batch by batch; at most one batch is read before it is asked for."""

    def read(one: Input) -> Tensor | str:
        try:
            return view.of(Encoded([one.path]), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
        except TailwiseError as error:
            return problem_of(error.__cause__ if isinstance(error.__cause__, Exception) else error)

    starts = range(done, len(listed), batch)
    coming = [pool.submit(read, one) for one in listed[done : done + batch]]
    for start in starts:
        now, coming = coming, [pool.submit(read, one) for one in listed[start + batch : start + 2 * batch]]
        yield start, [future.result() for future in now]


def _beside(out: Path) -> tuple[Path, Path]:
    """Where it is said how a table came about, and what is not in it."""
    return out.with_name(f"{out.name}.about.json"), out.with_name(f"{out.name}.skipped.csv")


def _write(out: Path, answering: Answering, listed: Sequence[Input], store: Store) -> Classified:
    """The output, what is said of it, and the list of what is not in it."""
    problems = store.problems()
    skipped = tuple((listed[i].path, problem) for i, problem in sorted(problems.items()))
    if len(skipped) == len(listed):
        store.remove()
        first, problem = skipped[0]
        raise TailwiseError(f"predict: none of the {len(listed)} images can be read; the first: {first} ({problem})")
    logits, groups = store.logits(), [one.group for one in listed]
    answering.meet(logits, groups)
    about, unread = _beside(out)
    rows = ({"path": one.name, "problem": problems[i]} for i, one in enumerate(listed) if i in problems)
    unread.unlink(missing_ok=True)  # of the last time
    if skipped:
        tables.write(unread, {"path": str, "problem": str}, rows)
    said = {"images": len(listed) - len(skipped), "skipped": len(skipped), **answering.said}
    write_whole(about, (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode())
    tables.write(out, answering.columns, answering.rows(logits, [one.name for one in listed], groups))
    return Classified(out, len(listed) - len(skipped), skipped, answering.summary)
