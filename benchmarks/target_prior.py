"""What it is worth to know, guess or estimate the class shares of the images that a model meets.

python -m benchmarks.target_prior RUN [DATA] [--draws 5] [--images 100] [--json FILE]

RUN is a finished run that classifies images, best one with a validation split; DATA the source of its test images, by default
the run's own. Test sets are drawn from the test split with exponentially falling class shares: forward, most images in the
classes that training has most of, and backward, most in those that it has fewest of. Each is as large as the test split
allows, and once more with only ``--images`` of it, as of a single site. Model, calibration and held-out samples are the run's;
the estimates see no label and are those of ``tailwise predict --prior estimate``. Prints one table, as Markdown.
"""

import argparse
import json
from collections.abc import Callable
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
from tailwise.predict.targets import ADDED
from tailwise.train import needs, parse
from tailwise.train.prepare import prepare
from tailwise.train.run import Run

FACTORS = (2, 5, 10, 25, 50)


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
    """Error in % of one test set under each prior, and how far the estimates are from its class shares (total variation)."""
    classes = len(counts)
    calibrated, predictions = calibration(free), free.argmax(1)
    truth = labels.bincount(minlength=classes).double() / len(labels)
    pseudo = torch.ones(classes) * max(ADDED * len(labels), classes) / classes
    ways: dict[str, Callable[[], Tensor]] = {
        "uniform": lambda: torch.ones(classes).double() / classes,
        "train": lambda: log_prior(counts).exp(),
        "EM": lambda: priors.em(calibrated, pseudo),
        "EM, no calibration": lambda: priors.em(free, pseudo),
    }
    if held is not None:
        ways["BBSE"] = lambda: priors.bbse(held.predictions, held.labels, predictions.bincount(minlength=classes))
    found = {name: way() for name, way in ways.items()} | {"oracle": truth}
    row = {}
    for name, shares in found.items():
        logits = free if name == "EM, no calibration" else calibrated
        row[name] = 100 * float(((logits + shares.log()).argmax(1) != labels).double().mean())
    off = {f"{name} off by": float((found[name] - truth).abs().sum() / 2) for name in ("EM", "BBSE") if name in found}
    return row | off


def measure(run: Run, source: str | None, draws: int, images: int) -> list[Row]:
    """A row for each direction, factor and size: means over the draws, with their standard deviation for errors."""
    free, labels = test_logits(run, source)
    about, held = run.model().about, conformal.read(run.path)
    counts, given = torch.tensor(about["train_counts"]), about.get("calibration")
    calibration = calibrate.IDENTITY
    if given:
        calibration = calibrate.Calibration(given["method"], *(torch.tensor(given[key]).double() for key in ("scale", "bias")))
    rows: list[Row] = []
    kinds = [("none", 1, False), *((name, f, name == "backward") for name in ("forward", "backward") for f in FACTORS)]
    for size in (None, images):
        for direction, factor, backward in kinds:
            sets = [draw(labels, counts, factor, backward, size, seed) for seed in range(draws)]
            found = [compare(free[s], labels[s], counts, calibration, held) for s in sets]
            row: Row = {"test set": direction, "factor": factor, "images": len(sets[0])}
            for name in found[0]:
                values = [one[name] for one in found]
                spread = f" ± {stdev(values):.1f}" if len(values) > 1 and "off" not in name else ""
                row[name] = f"{mean(values):.3f}" if "off" in name else f"{mean(values):.1f}{spread}"
            rows.append(row)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("data", nargs="?")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = measure(Run(given.run), given.data, given.draws, given.images)
    print(markdown(rows))
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
