"""What it is worth to know, guess or estimate the class shares of the images that a model meets.

python -m benchmarks.target_prior RUN... [--data SOURCE] [--half even] [--draws 5] [--images 100 0] [--json FILE]

A RUN is a finished run that classifies images, with a validation split; the source of its test images is by default its own.
Test sets are drawn from the test split with exponentially falling class shares: forward, most images in the classes that
training has most of, and backward, most in those that it has fewest of. Each is as large as the test split allows (0), or has
so many of these images, as of a single site. Model, calibration and held-out samples are the run's; the estimates see no
label and are those of ``tailwise predict --prior estimate``. With ``--half`` only every second test image is used: settings may
have been chosen on the others. Prints one table, as Markdown: means over runs and draws, with their standard deviation.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from benchmarks.measure import Row
from benchmarks.tables import markdown
from tailwise import calibrate, conformal, priors
from tailwise.counts import absent, log_prior
from tailwise.data.loader import EvalLoader
from tailwise.data.longtail import profile
from tailwise.evaluate import collect
from tailwise.predict.targets import estimated
from tailwise.train import needs, parse
from tailwise.train.prepare import prepare
from tailwise.train.run import Run

FACTORS = (2, 5, 10, 25, 50, 100)
HALVES = {"both": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}


def test_logits(run: Run, source: str | None) -> tuple[Tensor, Tensor]:
    """Logits free of any prior (N, C) and labels (N,) of the run's test images."""
    words = [] if source is None else [f"--data.source={source}"]
    prepared = prepare(needs.without(parse.resolve(parse.read(run.path / "recipe.yaml"), words)).data)
    model = run.model()
    model = model.cuda() if torch.cuda.is_available() else model
    logits, labels = collect(model, EvalLoader(prepared.test, prepared.plain(), batch_size=256))
    carried = torch.tensor(model.about["carried_log_prior"])
    return priors.adjust(logits.double(), carried, absent=absent(torch.tensor(model.about["train_counts"]))), labels


def draw(labels: Tensor, counts: Tensor, factor: float, backward: bool, images: int | None, seed: int) -> Tensor:
    """Indices of a test set whose class sizes fall by ``factor`` in the order of the training counts, or rise."""
    g = torch.Generator().manual_seed(seed)
    available = labels.bincount(minlength=len(counts))
    sizes = torch.empty_like(counts)
    sizes[counts.argsort(descending=not backward, stable=True)] = torch.tensor(
        profile(int(available.min()), len(counts), factor, "exp").tolist()
    )
    chosen = []
    for c, size in enumerate(sizes.tolist()):
        of_class = (labels == c).nonzero()[:, 0]
        chosen.append(of_class[torch.randperm(len(of_class), generator=g)[:size]])
    whole = torch.cat(chosen)
    return whole if images is None else whole[torch.randperm(len(whole), generator=g)[:images]]


def compare(
    free: Tensor, labels: Tensor, counts: Tensor, calibration: calibrate.Calibration, held: conformal.HeldOut | None
) -> dict[str, float]:
    """Of one test set, all in %: errors under each prior, total variation of the estimates, intervals that hold the truth."""
    classes, calibrated, predictions = len(counts), calibration(free), free.argmax(1)
    names = [str(c) for c in range(classes)]
    truth = labels.bincount(minlength=classes).double() / len(labels)
    even = torch.ones(classes).double() / classes

    def error(logits: Tensor, shares: Tensor) -> float:
        return 100 * float(((logits + shares.log()).argmax(1) != labels).double().mean())

    def off(shares: Tensor) -> float:
        return 100 * float((shares - truth).abs().sum() / 2)

    found = estimated(calibrated, predictions, held, names, counts)
    raw = estimated(free, predictions, held, names, counts).shares[""]
    row = {"uniform": error(calibrated, even), "train": error(calibrated, log_prior(counts).exp())}
    row |= {"estimate": error(calibrated, found.shares[""]), "without calibration": error(free, raw)}
    if held is not None:
        confused = torch.tensor([found.about["bbse"][name]["share"] for name in names])
        row |= {"BBSE": error(calibrated, confused)}
    row |= {"true shares": error(calibrated, truth), "estimate off by": off(found.shares[""])}
    row |= {} if held is None else {"BBSE off by": off(confused)}
    ends = torch.tensor([[found.about["shares"][name][end] for name in names] for end in ("low", "high")])
    inside = (ends[0] <= truth) & (truth <= ends[1])
    return row | {"covered": 100 * float(inside.double().mean()), "width": 100 * float((ends[1] - ends[0]).mean())}


def measure(runs: Sequence[Run], source: str | None, half: str, draws: int, sizes: Sequence[int]) -> list[Row]:
    """A row for each direction, factor and size: means over runs and draws, with their standard deviation for errors."""
    kinds = [("none", 1, False), *((name, f, name == "backward") for name in ("forward", "backward") for f in FACTORS)]
    found: dict[tuple[str, int, int], list[dict[str, float]]] = {}
    images: dict[tuple[str, int, int], int] = {}
    for run in runs:
        free, labels = (whole[HALVES[half]] for whole in test_logits(run, source))
        about, held = run.model().about, conformal.read(run.path)
        counts, calibration = torch.tensor(about["train_counts"]), calibrate.stated(about)
        for size in sizes:
            for direction, factor, backward in kinds:
                for seed in range(draws):
                    some = draw(labels, counts, factor, backward, size or None, seed)
                    images[direction, factor, size] = len(some)
                    one = compare(free[some], labels[some], counts, calibration, held)
                    found.setdefault((direction, factor, size), []).append(one)
    rows: list[Row] = []
    for (direction, factor, size), all_ in found.items():
        row: Row = {"test set": direction, "factor": factor, "images": images[direction, factor, size]}
        for name in all_[0]:
            values = [one[name] for one in all_]
            plain = len(values) < 2 or name in ("covered", "width")
            row[name] = f"{mean(values):.1f}" if plain else f"{mean(values):.1f} ± {stdev(values):.1f}"
        rows.append(row)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--data")
    parser.add_argument("--half", choices=HALVES, default="both")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--images", type=int, nargs="+", default=[0, 100])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = measure([Run(run) for run in given.runs], given.data, given.half, given.draws, given.images)
    print(markdown(rows))
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
