"""Geometry and information of clouds whose answers are known: bias, coverage of the intervals, bounds, cost.

python -m soak.geometry
"""

import argparse
import math
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import torch

from soak.clouds import ROUND, WEAK, Kind, cloud, known, shaped, two_gaussians
from soak.record import Part
from tailwise.metrics import geometry, information, neighbours
from tailwise.metrics.bootstrap import Figure, Interval
from tailwise.metrics.gaussianity import gaussianity

COVERED = 0.90
"""Least share of intervals that hold the truth, of a nominal 95 %: those of few samples are known to fall short."""
WHY = "Intervals of few samples are approximate, and the smallest of ten is no sound end of a margin"
BIAS = 0.05
"""Largest bias as a share of the truth, beyond three standard errors of the mean over the clouds."""
RANGE = {
    "trace": (0.0, math.inf),
    "nc1": (0.0, math.inf),
    "min_angle": (0.0, 180.0),
    "simplex_max": (0.0, 2.0),
    "simplex_rms": (0.0, 2.0),
    "drift": (-0.5, 2.0),
    "margin": (-2.0, 2.0),
    "uniformity": (-8.0, 0.0),
    "gap": (-1.0, 1.0),
}
"""What figures can be, if not within 0 to 1."""
SCALE = {"min_angle": 90.0}
"""What a figure may be, if not about 1; where the truth is nearly 0, the bias is at most `SLACK` of that."""
SLACK = 0.03


def number(cell: Interval | None, key: str) -> float:
    """A figure that must be there."""
    assert cell is not None
    value = cell[key]
    assert value is not None
    return value


def coverage(part: Part, kind: Kind, clouds: int) -> None:
    """Figures of clouds drawn again and again from the same distributions, against their truth.

    A figure of fewer classes than the group has, where one was not clear of its noise, is of another truth and not counted.
    """
    truth, found = known(kind), defaultdict[tuple[str, str], list[tuple[float, float, float]]](list)
    cells, outside = 0, set[str]()
    for seed in range(clouds):
        for name, figure in cloud(kind, seed).items():
            least, most = RANGE.get(name, (0.0, 1.0))
            for cell in filter(None, figure.values()):
                ends = [least, *(number(cell, key) for key in ("low", "value", "high") if cell["low"] is not None), most]
                cells, outside = cells + 1, outside | ({name} if ends != sorted(ends) else set())
            for group, own in kind.group.items():
                asked = sum(kind.sizes[c] >= 10 for c in own) if name == "margin" else len(own)
                if (cell := figure[group]) and cell["classes"] == asked:
                    found[name, group].append((number(cell, "value"), number(cell, "low"), number(cell, "high")))
    part.add(
        f"Figures of {kind.title} lie in their intervals, and both in range",
        "low ≤ value ≤ high, every figure and group",
        f"{cells:,} figures of {clouds} clouds",
        not outside,
        f"outside: {', '.join(sorted(outside))}" if outside else "",
    )
    rows: list[dict[str, object]] = []
    for (name, group), told in found.items():
        value, low, high = torch.tensor(told, dtype=torch.float64).T
        true = truth[name][group]
        held = float(((low <= true) & (true <= high)).double().mean())
        bias, deviation = float(value.mean()) - true, float(value.std(correction=0))
        allowed = max(BIAS * abs(true), SLACK * SCALE.get(name, 1.0)) + 3 * deviation / len(told) ** 0.5
        rows.append(
            {
                "figure": name,
                "group": group,
                "clouds": len(told),
                "truth": f"{true:.4g}",
                "mean": f"{float(value.mean()):.4g}",
                "sd": f"{deviation:.2g}",
                "covered": f"{100 * held:.1f} %",
                "biased": abs(bias) > allowed,
                "short": held < COVERED,
            }
        )
    for group, members in kind.group.items():
        own_rows = [row for row in rows if row["group"] == group]
        wrong, short = ([str(row["figure"]) for row in own_rows if row[key]] for key in ("biased", "short"))
        names = f"{kind.title}: classes of {', '.join(str(kind.sizes[c]) for c in members)} samples ({group})"
        part.add(
            f"Figures of {names} are unbiased",
            f"{len(own_rows)} figures, bias at most {100 * BIAS:.0f} % of the truth or {100 * SLACK:.0f} % of the scale",
            f"{len(own_rows) - len(wrong)} of {len(own_rows)} figures, {clouds} clouds",
            not wrong,
            f"biased: {', '.join(wrong)}" if wrong else "",
        )
        least = min(own_rows, key=lambda row: float(str(row["covered"]).split()[0]))
        part.add(
            f"95 % intervals of {names} hold the truth",
            f"at least {100 * COVERED:.0f} % of {clouds} clouds, each figure",
            f"lowest {least['covered']} ({least['figure']}), {len(own_rows) - len(short)} of {len(own_rows)} figures",
            not short,
            f"short: {', '.join(short)}. {WHY}" if short else "",
        )
    part.table(f"Coverage, {kind.title}", [{key: row[key] for key in row if key not in ("biased", "short")} for row in rows])


def bounds(part: Part, seeds: int) -> None:
    """Lower bounds of information against numerical integration and closed forms."""
    rows: list[dict[str, object]] = []

    def tried(name: str, truth: float, found: Iterator[Figure]) -> None:
        cells = torch.tensor([[number(f["all"], "value"), number(f["all"], "low")] for f in found], dtype=torch.float64)
        value, low = cells.T
        above = float(value.mean() - truth) / float(value.std() / len(value) ** 0.5 + 1e-12)
        rows.append(
            {
                "case": name,
                "truth, nats": f"{truth:.4f}",
                "bound": f"{float(value.mean()):.4f} ± {float(value.std()):.4f}",
                "above": bool(above > 2 and float(value.mean()) > truth + 1e-3),
                "low above the truth": int((low > truth).sum()),
            }
        )

    for distance in (0.0, 1.0, 2.0, 4.0):
        each = (
            information.label_information(*two_gaussians(distance, seed), [300, 5], seed=seed).nats for seed in range(seeds)
        )
        tried(f"label: two Gaussians at distance {distance:g}", _two_gaussians(distance), each)
    for rho, dim in ((0.0, 2), (0.5, 2), (0.9, 2), (0.9, 8)):
        truth = -dim / 2 * math.log1p(-(rho**2))
        tried(
            f"instance: correlation {rho:g} in {dim} dimensions, N = 500",
            truth,
            (_correlated(rho, dim, s) for s in range(seeds)),
        )
    above = [str(row["case"]) for row in rows if row["above"]]
    part.add(
        "Bounds of information do not exceed the truth",
        f"{len(rows)} cases, mean of {seeds} clouds at most the truth + 2 standard errors",
        f"{len(rows) - len(above)} of {len(rows)} cases",
        not above,
        f"above: {', '.join(above)}" if above else "",
    )
    outside = sum(int(str(row["low above the truth"])) for row in rows)
    total = len(rows) * seeds
    part.add(
        "The lower end of a bound's interval lies below the truth",
        "at least 95 % of clouds",
        f"{total - outside} of {total}",
        outside <= 0.05 * total,
    )
    part.table("Information", [{key: row[key] for key in row if key != "above"} for row in rows])


def _two_gaussians(distance: float) -> float:
    z = torch.linspace(-14 - distance, 14 + distance, 400_001, dtype=torch.float64)
    density = ((-((z - distance / 2) ** 2) / 2).exp() + (-((z + distance / 2) ** 2) / 2).exp()) / math.sqrt(8 * math.pi)
    return -float(torch.trapezoid(density * density.clamp(min=1e-300).log(), z)) - 0.5 * math.log(2 * math.pi * math.e)


def _correlated(rho: float, dim: int, seed: int) -> Figure:
    z, noise = torch.randn(2, 500, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    second, labels = max(rho, 0.1) * (rho * z + math.sqrt(1 - rho**2) * noise), torch.arange(500) % 2
    return information.instance_information(z, second, labels, [300, 5], spherical=False, seed=seed).nats


def gaussian_or_not(part: Part, seeds: int) -> None:
    """The same answer for classes of 500 samples and of 30."""
    rows: list[dict[str, object]] = []
    for kind in ("Gaussian", "two lumps", "heavy tails"):
        drawn = [gaussianity(*shaped(kind, seed), ROUND.sizes, size=24, seed=seed) for seed in range(seeds)]
        for group, n in (("many", 500), ("medium", 100), ("few", 30)):
            row: dict[str, object] = {"class": kind, "group": group, "samples": n}
            for name in ("henze_zirkler", "kurtosis", "kernel_gain"):
                value = torch.tensor([number(found[name][group], "value") for found in drawn])
                row[name] = f"{float(value.mean()):.3f} ± {float(value.std()):.3f}"
            seen = sum(number(found["henze_zirkler"][group], "low") > 0 for found in drawn)
            rows.append(
                {**row, "interval above 0": f"{seen} of {seeds}", "z": float(str(row["henze_zirkler"]).split()[0]), "n": seen}
            )
    normal = [row for row in rows if row["class"] == "Gaussian"]
    worst = max(abs(float(str(row["z"]))) for row in normal)
    alarms = sum(int(str(row["n"])) for row in normal)
    part.add("Gaussian classes look Gaussian, head and tail", "mean within 0.15 sd", f"largest {worst:.3f} sd", worst <= 0.15)
    total = len(normal) * seeds
    part.add(
        "and are not called otherwise", "at most 2.5 % of intervals above 0", f"{alarms} of {total}", alarms <= 0.025 * total
    )
    other = [float(str(row["z"])) for row in rows if row["class"] != "Gaussian"]
    part.add("Lumps and tails are seen, head and tail", "mean above 0.5 sd", f"lowest {min(other):.3f} sd", min(other) > 0.5)
    part.table("Gaussian or not, subsets of 24", [{key: row[key] for key in row if key not in ("z", "n")} for row in rows])


def cost(part: Part, classes: int) -> None:
    """Time and memory where classes are many."""
    dim, each = 512, 10
    counts = torch.logspace(math.log10(1000), math.log10(5), classes).long()
    y = torch.arange(classes).repeat_interleave(each)
    means = torch.randn(classes, dim, generator=torch.Generator().manual_seed(0))
    x = means[y] + torch.randn(len(y), dim, generator=torch.Generator().manual_seed(1))
    some = neighbours.evenly(y, classes, 2000)
    jobs: Mapping[str, Callable[[], object]] = {
        "spread": lambda: geometry.spread(x, y, counts),
        "angles": lambda: geometry.angles(x, y, counts),
        "drift": lambda: geometry.drift(x, y, x, y, counts),
        "nearest_mean": lambda: neighbours.nearest_mean(x, y, counts, x, y),
        "uniformity": lambda: neighbours.uniformity(x, y, counts),
        "label_information": lambda: information.label_information(x, y, counts),
        "instance_information": lambda: information.instance_information(x[some], 2 * x[some], y[some], counts),
    }
    rows: list[dict[str, object]] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, job in jobs.items():
        started = time.process_time()
        job()
        rows.append({"figures": name, "CPU seconds": round(time.process_time() - started, 1)})
        print(rows[-1], flush=True)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    seconds = sum(float(str(row["CPU seconds"])) for row in rows)
    found = f"{seconds:.0f} CPU seconds, {grown:.1f} GiB more"
    asked = f"{classes:,} classes, {len(y):,} × {dim} features: within 5 minutes and 2 GiB"
    part.add("Many classes are no trouble", asked, found, seconds <= 300 and grown <= 2)
    part.table(f"Cost, {classes:,} classes", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clouds", type=int, default=200, help="drawn for coverage")
    parser.add_argument("--seeds", type=int, default=40, help="clouds for each bound of information and for each shape")
    parser.add_argument("--classes", type=int, default=1000, help="of the measurement of cost")
    given = parser.parse_args()
    torch.set_num_threads(1)
    record = Part("geometry", "Geometry and information")
    for each in (ROUND, WEAK):
        coverage(record, each, given.clouds)
    bounds(record, given.seeds)
    gaussian_or_not(record, given.seeds)
    cost(record, given.classes)
    record.write()
