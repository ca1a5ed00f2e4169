"""Memory over time: the resident size of `fit` and of `predict`, sampled while they work.

python -m soak.flat --minutes 30

Both commands run at once, as children with one thread each, on small JPEG files that are decoded each time. `fit` trains GML,
the objective with most state (queue, momentum encoder, projections), with one worker that reads images; `predict` classifies
links to the same files. Both are ended while they are still at work, so that nothing but the work itself is sampled.
"""

import argparse
import contextlib
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.stats import t as student

from soak.record import Part
from tailwise.models import network

FILES, FEW, CLASSES, SIDE = 600, 160, 20, 96
EVERY = 2.0
"""Seconds between two samples."""
WARM = 2.0
"""Minutes of work before the first level is taken: the allocator's growth and the first of everything lie in them."""
AT_WORK = {"fit": "epoch 2/", "predict": " of "}
"""What a log says once its command works: imports, which take minutes on a busy machine, and the first epoch are over."""
PER_HOUR, LEVEL = 20.0, 0.05
"""MiB per hour that count as flat, a night's 200 MiB, and the share that the last minutes may lie above the first ones."""
TRAINING = ["--objective=GML", "--model.backbone=resnet20", "--data.image_size=32", "--batch_size=32", "--engine.workers=1"]
SHORT = ["--epochs=1", "--steps=1", "--model.backbone=resnet34", f"--data.image_size={SIDE}", "--batch_size=8"]


class Sample(NamedTuple):
    """Minutes since the start, MiB of the process itself, and of the largest that it started, 0 where there is none."""

    minutes: float
    own: float
    worker: float


def pictures(folder: Path, number: int) -> Path:
    """Small JPEG files of a long tail of classes, of noise around a colour of the class."""
    draw = np.random.default_rng(0)
    share = 0.8 ** np.arange(CLASSES)
    for c, n in enumerate((number * share / share.sum()).astype(int).clip(5)):
        (folder / f"class {c:02}").mkdir(parents=True)
        for i in range(n):
            pixels = draw.integers(0, 96, (SIDE, SIDE, 3)) + draw.integers(0, 160, 3) * (c % 2) + 4 * c
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"class {c:02}" / f"{i}.jpg")
    return folder


def links(files: Sequence[Path], folder: Path, number: int) -> Path:
    """A folder of so many links to the files, a thousand in each folder below it."""
    for i in range(number):
        if i % 1000 == 0:
            (below := folder / f"{i // 1000:04}").mkdir(parents=True)
        (below / f"{i}.jpg").symlink_to(files[i % len(files)])
    return folder


def command(*words: object) -> list[str]:
    """A tailwise command."""
    return [sys.executable, "-m", "tailwise.cli", *map(str, words)]


@contextlib.contextmanager
def started(words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child at the lowest priority with one thread, in a process group of its own that ends with the block."""
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with log.open("wb") as out:
        child = subprocess.Popen(
            ["nice", "-n", "15", *words], env=os.environ | one, stdout=out, stderr=out, start_new_session=True
        )
        try:
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def resident(pid: int) -> float:
    """MiB that are resident, which do not depend on who shares them; 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def workers(group: int) -> list[int]:
    """The processes of a group beside its first one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[2]) == group != int(stat.parent.name):
                found.append(int(stat.parent.name))
    return found


def watch(jobs: dict[str, subprocess.Popen[bytes]], folder: Path, minutes: float) -> dict[str, list[Sample]]:
    """Samples of every job from when it is at work, see `AT_WORK`, until each was watched for so long or has ended."""
    found: dict[str, list[Sample]] = {name: [] for name in jobs}
    begun: dict[str, float] = {}
    while any(job.poll() is None and _since(begun.get(name)) < minutes for name, job in jobs.items()):
        for name, job in jobs.items():
            if name not in begun and AT_WORK[name] in (folder / f"{name}.log").read_text(encoding="utf-8"):
                begun[name] = time.monotonic()
            if name in begun:
                sample = Sample(_since(begun[name]), resident(job.pid), max(map(resident, workers(job.pid)), default=0.0))
                if job.poll() is None and sample.own and sample.minutes <= minutes:
                    found[name].append(sample)
        time.sleep(EVERY)
    return found


def _since(start: float | None) -> float:
    return 0.0 if start is None else (time.monotonic() - start) / 60


def by_minute(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """In every whole minute the median MiB of the process, and the largest worker's: one that has just begun is small."""
    minutes: dict[int, list[Sample]] = {}
    for sample in samples:
        minutes.setdefault(int(sample.minutes), []).append(sample)
    return [
        (minute + 0.5, statistics.median(one.own for one in found) + max(one.worker for one in found))
        for minute, found in sorted(minutes.items())
    ]


def growth(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """MiB per hour by least squares through (minute, MiB), and half the width of its 95 % interval by Student's t."""
    x, y = (np.array(column) for column in zip(*points, strict=True))
    line = statistics.linear_regression(x, y)
    spread = ((y - line.intercept - line.slope * x) ** 2).sum() / (len(x) - 2)
    half = float(student.ppf(0.975, len(x) - 2)) * math.sqrt(spread / ((x - x.mean()) ** 2).sum())
    return 60 * line.slope, 60 * half


def judge(part: Part, name: str, samples: Sequence[Sample], minutes: float) -> None:
    """The promises of one command, and a table of its samples."""
    points = by_minute(samples)
    lasted = samples[-1].minutes if samples else 0.0
    part.add(
        f"`{name}` works for as long as it is watched, counted from when it is at work",
        f"{minutes:g} minutes",
        f"{lasted:.1f} minutes, {len(samples)} samples",
        lasted > minutes - 1,
    )
    late = [point for point in points if point[0] > minutes / 2]
    warm = min(WARM, minutes / 4)
    early = [value for minute, value in points if warm <= minute <= warm + max(3.0, minutes / 10)]
    if len(late) < 4 or not early:
        part.add(f"`{name}` does not grow", "a second half to look at", f"{len(late)} minutes of it", False, "it ended before")
        return
    slope, half = growth(late)
    part.add(
        f"Resident size of `{name}` does not grow",
        f"at most {PER_HOUR:g} MiB an hour over the second half, interval included",
        f"{slope:+.1f} ± {half:.1f} MiB an hour",
        slope + half <= PER_HOUR,
        f"every {EVERY:g} s the size of the command and of its largest worker; a line through {len(late)} minutes, the "
        "median of the one plus the maximum of the other; 95 % by t",
    )
    first, last = statistics.median(early), statistics.median(value for _, value in late[-3:])
    part.add(
        f"Resident size of `{name}` stays where it was after its first minutes",
        f"at most {LEVEL:.0%} above",
        f"{last / first - 1:+.1%}, from {first:.0f} to {last:.0f} MiB",
        last <= (1 + LEVEL) * first,
    )
    shown = samples[:: max(len(samples) // 12, 1)]
    rows = [{"minute": round(s.minutes, 1), "process, MiB": round(s.own), "worker, MiB": round(s.worker)} for s in shown]
    part.table(f"Resident size of {name} over time", rows)


def rate() -> float:
    """Images that the network of `predict` can see in a second at most, however busy the machine is later."""
    torch.set_num_threads(1)
    model, views, took = network("resnet34", CLASSES).eval(), torch.zeros(1, 64, 3, SIDE, SIDE), []
    with torch.inference_mode():
        for _ in range(5):
            start = time.perf_counter()
            model(views)
            took.append(time.perf_counter() - start)
    return 64 / min(took)


def main(minutes: float) -> None:
    """Prepare the files and a run, watch both commands, write ``soak/results/flat.json``."""
    part = Part("flat", "Memory over time")
    folder = Path(tempfile.mkdtemp(prefix="flat"))
    try:
        images, run = pictures(folder / "images", FILES), folder / "run"
        few = command("fit", pictures(folder / "few", FEW), "--out", run, *SHORT)
        with started(few, folder / "few.log") as child:
            if child.wait():
                sys.exit((folder / "few.log").read_text(encoding="utf-8"))
        many = links(sorted(images.glob("*/*.jpg")), folder / "many", int(90 * minutes * rate()))
        with (
            started(
                command("fit", images, "--out", folder / "long", "--epochs", 100_000, *TRAINING), folder / "fit.log"
            ) as fits,
            started(command("predict", run, many, "--out", folder / "many.csv"), folder / "predict.log") as predicts,
        ):
            found = watch({"fit": fits, "predict": predicts}, folder, minutes)
        epochs = sum("epoch " in line for line in (folder / "fit.log").read_text(encoding="utf-8").splitlines())
        said = (folder / "predict.log").read_text(encoding="utf-8").splitlines()
        print(f"fit: {epochs} epochs; predict: {said[-1] if said else 'nothing'}", flush=True)
        for name, samples in found.items():
            judge(part, name, samples, minutes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    part.write()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30)
    main(parser.parse_args().minutes)
