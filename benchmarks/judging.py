"""What judging and reporting cost as the test set and the number of classes grow; nothing may be worse than linear.

`python -m benchmarks.judging` prints, for each line, the slope at its large end in log-log: 1 is linear.
"""

import itertools
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Row, seconds
from benchmarks.tables import growth, markdown
from tailwise import metrics
from tailwise.counts import log_prior
from tailwise.evaluate import Answers, correction, observe, read, result
from tailwise.models import Network, network
from tailwise.report import bench, card
from tailwise.types import Batch

CLASSES, SAMPLES = 8142, 500_000
"""Of iNaturalist 2018, and more than its training set has."""


def timed(jobs: Mapping[int, Callable[[], Any]]) -> list[Row]:
    """A line of jobs by what grows; its points take turns."""
    found = seconds({str(x): job for x, job in jobs.items()}, repeats=5, warm_up=1)
    return [{"x": x, "seconds": found[str(x)]} for x in jobs]


def judged(samples: int, classes: int) -> tuple[Answers, Tensor, list[str], Tensor]:
    """What `result` takes: answers of which six in ten are right, training counts with a long tail, names, a tally."""
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (samples,), generator=g)
    wrong = torch.randint(classes, (samples,), generator=g)
    predictions = torch.where(torch.rand(samples, generator=g) < 0.6, labels, wrong)
    confidence, ranks = torch.rand(samples, generator=g).double(), torch.randint(20, (samples,), generator=g)
    answers = Answers(labels, predictions, confidence, ranks, predictions)
    counts = (1000 * torch.rand(classes, generator=g) ** 4).long() + 1
    return answers, counts, [f"class {c}" for c in range(classes)], metrics.tally(predictions, labels, classes)


def look(net: Network, samples: int) -> None:
    """Evaluate on random images of 8 × 8 pixels in batches of 500."""
    index = torch.arange(500)
    batch = Batch(torch.rand(1, 500, 3, 8, 8), index % 10, index, index)
    observe(net, itertools.repeat(batch, samples // 500))


def report(block: dict[str, Any]) -> None:
    """All that is written of a run: its file, its card, and the table of a bench in which it is a row."""
    block = block | {"best_epoch": None, "seconds": 1.0}
    json.dumps(block, indent=2)
    card(block)
    row = bench.Row("run", {}, [block])
    bench.markdown([row])
    bench.html([row])


def measure(device: str = "cpu") -> dict[str, list[Row]]:
    """A line for each cost: x is what grows. The network and its logits are on the device, all else is the CPU's."""
    sizes, widths = (10_000, 50_000, 100_000, 250_000, SAMPLES), (10, 100, 1000, CLASSES, 25_000, 50_000, 100_000)
    by_samples = {samples: partial(result, *judged(samples, CLASSES)) for samples in sizes}
    by_classes = {classes: partial(result, *judged(100_000, classes)) for classes in widths}
    reports = {classes: partial(report, figures()) for classes, figures in by_classes.items()}
    counts = torch.arange(CLASSES) + 1
    shift = correction(log_prior(counts), counts)
    logits, labels = torch.randn(4096, CLASSES, device=device), torch.arange(4096)
    readings = {n: partial(read, logits[:n], labels[:n], shift) for n in (256, 512, 1024, 2048, 4096)}
    net = network("resnet8", 10).to(device)
    looks = {n: partial(look, net, n) for n in (1000, 2000, 4000, 8000)}
    return {
        f"figures of a result against samples, {CLASSES} classes": timed(by_samples),
        "figures of a result against classes, 100000 samples": timed(by_classes),
        "report of a run against classes": timed(reports),
        f"reading logits against samples, {CLASSES} classes": timed(readings),
        "evaluation of resnet8 against samples, 8 × 8 pixels": timed(looks),
    }


if __name__ == "__main__":
    print(markdown(growth(measure())))
