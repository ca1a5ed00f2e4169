"""Load: a million rows in a listing, 100,000 classes, 10 million predictions; processor seconds, memory and slope of each.

python -m soak.load --rows 1000000 --classes 100000 --predictions 10000000

Each size is a process of its own, forked before anything large is made. Its seconds are those of the processor, all threads
together, so that what else the machine does is left out; its MiB are the peak of its resident size beyond the inputs.
The rows of a listing name as many different files, of 8 × 8 pixels, and a class has ten of them.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.judging import judged
from benchmarks.tables import LINEAR, slopes
from soak.apart import measured
from soak.record import Part
from tailwise import counts, losses, metrics
from tailwise.data import Split, hold_out, long_tailed, open_source, profile
from tailwise.data.loader import TrainLoader
from tailwise.data.samplers import ClassBalanced
from tailwise.data.source import Encoded
from tailwise.data.views import Normalisation, multi_view
from tailwise.evaluate import result
from tailwise.queue import ClassQueue
from tailwise.report import card
from tailwise.report.images import image_report
from tailwise.types import Batch, Output

TEN = 10
"""Rows of a class."""


class Line(NamedTuple):
    """A cost and how it may grow: what makes the job of a size, its sizes, and bounds for the largest of them."""

    title: str
    make: Callable[[int], Callable[[], Any]]
    sizes: list[int]
    seconds: float
    mib: float
    why: str


def picture(i: int) -> bytes:
    """The i-th image of 8 × 8 pixels, different from all others, in the simplest format."""
    return b"P6 8 8 255\n" + i.to_bytes(8, "little") * 24


def listing(folder: Path, rows: int) -> Path:
    """A CSV of so many images that lie in folders of a thousand; made where it is not there yet."""
    where = folder / f"{rows}.csv"
    for i in range(rows):
        below = folder / f"{i // 1000}"
        if i % 1000 == 0:
            below.mkdir(exist_ok=True)
        if not (file := below / f"{i}.ppm").exists():
            file.write_bytes(picture(i))
    lines = (f"{i // 1000}/{i}.ppm,{i % (rows // TEN)}\n" for i in range(rows))
    where.write_text("path,label\n" + "".join(lines), encoding="utf-8")
    return where


def read_listing(folder: Path, rows: int) -> Callable[[], Any]:
    """Open the CSV: read it, look at every image, sort out what is bad or twice, hash."""
    return partial(open_source, listing(folder, rows))


def read_parquet(folder: Path, rows: int) -> Callable[[], Any]:
    """The same of a parquet file that holds the images."""
    file, kind = folder / f"{rows}.parquet", pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = pa.array(({"bytes": picture(i), "path": None} for i in range(rows)), kind)
    pq.write_table(pa.table({"image": cells, "label": [i % (rows // TEN) for i in range(rows)]}), file)
    return partial(open_source, file)


def arrange(rows: int) -> Callable[[], Any]:
    """Hold a part out, make the rest long-tailed, take that subset."""
    labels = torch.arange(rows) % (rows // TEN)
    split = Split(Encoded([b""] * rows), labels, paths=tuple(map(str, range(rows))))

    def job() -> None:
        kept, _ = hold_out(labels, 0.2, seed=0)
        train = split.subset(kept)
        train.subset(long_tailed(train.labels, profile(8, rows // TEN, 8.0)))

    return job


def start(rows: int) -> Callable[[], Any]:
    """A loader and its first batch, class-balanced: it needs the order of the whole epoch."""
    split = Split(Encoded([picture(0)] * rows), torch.arange(rows) % (rows // TEN))
    views = multi_view(["crop_flip"], 8, Normalisation((0.5,) * 3, (0.5,) * 3))
    return lambda: TrainLoader(split, views, batch_size=128, seed=0, sampler=ClassBalanced()).batch(0)


def tail(classes: int) -> torch.Tensor:
    """Counts of a long tail."""
    return (1000 * torch.linspace(1, 0, classes) ** 4).long() + 1


def count(classes: int) -> Callable[[], Any]:
    """Everything that follows from counts, and a queue over them: made, filled by 100 batches, read."""
    given = tail(classes)

    def job() -> None:
        for of in (counts.log_prior, counts.shot_groups, counts.thirds, counts.imbalance_factor, counts.absent):
            of(given)
        queue = ClassQueue(counts.allocate(given, 4 * classes, 2), 32)
        keys, index = torch.ones(256, 32), torch.arange(256)
        for step in range(100):
            queue.push(keys, (index + 256 * step) % classes, index)
        queue.read()

    return job


def report(classes: int) -> Callable[[], Any]:
    """The result block of 100,000 answers, the card of the run and its page."""
    judging = judged(100_000, classes)

    def job() -> None:
        block = result(*judging) | {"best_epoch": None, "seconds": 1.0}
        card(block)
        image_report(block)

    return job


class Plain(torch.nn.Module):
    """A model of two layers on rows of 32 numbers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dim, self.classes = 32, classes
        self.backbone, self.head = torch.nn.Linear(32, 32), torch.nn.Linear(32, classes)

    def forward(self, views: torch.Tensor) -> Output:
        """As `tailwise.types.Model`."""
        features = self.backbone(views).tanh()
        return Output(self.head(features), features, self.head.weight)


def train(objective: type[losses.Objective], classes: int) -> Callable[[], Any]:
    """Five steps of an objective on batches of 64, forward and backward, the queue included."""
    model = Plain(classes)
    made = objective(tail(classes), model).train()
    if isinstance(made, losses.GML):  # filled, as after an epoch
        slots = made.queue.labels if isinstance(made.queue, ClassQueue) else torch.empty(0, dtype=torch.int64)
        made.queue.push(torch.randn(len(slots), 32), slots, torch.arange(len(slots)))
    index = torch.arange(64)
    batch = Batch(torch.randn(made.views, 64, 32), index * (classes // 64), index, index)

    def job() -> None:
        for _ in range(5):
            out = model(batch.views[list(made.student_views)])
            torch.stack(list(made(out, batch).values())).sum().backward()  # type: ignore[no-untyped-call]
            made.on_step(model)

    return job


def judge(samples: int) -> Callable[[], Any]:
    """Tally, figures by shots, calibration overall and by group, and top five, of 1,000 classes."""
    answers, given, _, _ = judged(samples, 1000)
    of = (answers.confidence, answers.predictions, answers.labels)

    def job() -> None:
        metrics.summary(metrics.tally(answers.predictions, answers.labels, 1000), given)
        metrics.ece(*of)
        metrics.ece_by_group(*of, given)
        metrics.top_k_accuracy(answers.ranks, answers.labels, 5)

    return job


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def sizes(largest: int) -> list[int]:
    """Three sizes a factor of ten apart."""
    return [max(largest // 100, 1), max(largest // 10, 1), largest]


def lines(folder: Path, rows: int, classes: int, predictions: int) -> Iterable[Line]:
    """What is measured. Bounds are for the full sizes: what the user of a laptop can wait for and has memory for."""
    listed, named = sizes(rows), sizes(classes)
    yield Line("Reading a CSV against rows", partial(read_listing, folder), listed, 200, 3072, "0.2 ms and 3 KiB a row")
    yield Line("Reading parquet against rows", partial(read_parquet, folder), listed, 200, 3072, "0.2 ms and 3 KiB a row")
    yield Line("Splits and a long tail against rows", arrange, listed, 10, 512, "10 µs and 0.5 KiB a row")
    yield Line("Start of a loader against rows", start, listed, 10, 512, "10 µs and 0.5 KiB a row")
    yield Line("Counts and a queue against classes", count, named, 10, 512, "0.1 ms and 5 KiB a class")
    yield Line("Result, card and page against classes", report, named, 10, 512, "0.1 ms and 5 KiB a class")
    for name, seconds, mib, of_one in (("LogitAdjusted", 5, 512, 5), ("GML", 20, 1024, 10)):
        job, why = partial(train, getattr(losses, name)), f"{seconds // 5} s a step and {of_one} KiB a class"
        yield Line(f"Five steps of {name} against classes", job, named, seconds, mib, why)
    yield Line("Metrics against predictions", judge, sizes(predictions), 20, 1024, "2 µs and 100 bytes a prediction")


def main(rows: int, classes: int, predictions: int) -> None:
    """Measure all lines and write ``soak/results/load.json``."""
    part, table = Part("load", "Load"), []
    with tempfile.TemporaryDirectory(prefix="load") as folder:
        for line in lines(Path(folder), rows, classes, predictions):
            found = measured(line.make, line.sizes)
            print(*(f"{line.title}: {row}" for row in found), sep="\n", flush=True)
            grown, largest = slopes(found[-2:]), found[-1]
            part.add(
                f"{line.title.replace(' against ', ', up to ' + format(largest['x'], ',') + ' ')}: linear or better",
                f"slopes at most {LINEAR}, {line.seconds:g} s, {line.mib:g} MiB",
                f"slopes {grown['seconds']:.2f} and {grown['MiB']:.2f}, {largest['seconds']:.1f} s, {largest['MiB']:.0f} MiB",
                max(grown.values()) <= LINEAR and largest["seconds"] <= line.seconds and largest["MiB"] <= line.mib,
                f"the bounds are {line.why}",
            )
            shown = {key: " … ".join(_short(row[key]) for row in found) for key in ("x", "seconds", "MiB")}
            table.append({"cost": line.title, **shown, "slope of seconds": grown["seconds"], "slope of MiB": grown["MiB"]})
    part.table("Processor seconds and peak MiB at three sizes; slopes, log against log, of the two largest", table)
    part.write()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for option, size in (("--rows", 1_000_000), ("--classes", 100_000), ("--predictions", 10_000_000)):
        parser.add_argument(option, type=int, default=size)
    main(**vars(parser.parse_args()))
