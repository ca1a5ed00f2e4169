"""Metrics do not lie: every figure against scikit-learn on random label sets, and the same figures however they are cut.

python -m soak.metrics --sets 2000
"""

import argparse
import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from soak.label_sets import LabelSet, draw
from soak.metric_references import gap, pairs
from soak.record import Part
from tailwise import evaluate, metrics
from tailwise.metrics.multilabel import histograms
from tailwise.types import Batch, Output

COUNTED = ("hits, true and predicted counts", "classes in each group", "rank among equal logits")
"""Whole numbers, of which none may differ."""
BOUND, REORDERED = 1e-9, 1e-12


class Echo(nn.Module):
    """A model whose logits are its input."""

    def forward(self, views: Tensor) -> Output:
        """Views (1, B, C) as logits."""
        return Output(views, views, views[0], 1.0)


def flat(found: Any) -> list[float | None]:
    """All numbers of a result in a row."""
    if isinstance(found, dict | list):
        return [v for value in (found.values() if isinstance(found, dict) else found) for v in flat(value)]
    return [found] if found is None or isinstance(found, int | float) else []


def cuts(n: int, shares: int, generator: torch.Generator) -> list[Tensor]:
    """``shares`` uneven parts of 0..n−1 in random order; some may be empty."""
    ends = torch.randint(n + 1, (shares - 1,), generator=generator).sort().values.tolist()
    return list(torch.randperm(n, generator=generator).tensor_split(ends))


def differences(given: LabelSet, seed: int) -> dict[str, float]:
    """How far figures of shares, batches and other orders are from those of the whole; 0 where they are bit-equal."""
    generator = torch.Generator().manual_seed(seed)
    guess, classes, n = given.logits.argmax(1), given.classes, len(given.labels)
    names = [str(c) for c in range(classes)]
    whole, counted = metrics.tally(guess, given.labels, classes), histograms(given.scores, given.targets)
    summary = metrics.summary(whole, given.counts)
    found = evaluate.judge(given.logits.float(), given.labels, given.counts, names)
    out = dict.fromkeys(("tallies of 1 to 4 shares", "figures of 1 to 4 shares"), 0.0)
    for shares in (1, 2, 3, 4):
        parts = cuts(n, shares, generator)
        merged = torch.stack([metrics.tally(guess[p], given.labels[p], classes) for p in parts]).sum(0)
        binned = torch.stack([histograms(given.scores[p], given.targets[p]) for p in parts]).sum(0)
        unequal = int((merged != whole).sum()) + int((binned != counted).sum())
        out["tallies of 1 to 4 shares"] = max(out["tallies of 1 to 4 shares"], float(unequal))
        unlike = gap(flat(metrics.summary(merged, given.counts)), flat(summary))
        out["figures of 1 to 4 shares"] = max(out["figures of 1 to 4 shares"], unlike)
    ends = torch.randint(n + 1, (int(torch.randint(6, (), generator=generator)),), generator=generator).sort().values.tolist()
    batches = [
        _batch(*piece) for piece in zip(*(x.tensor_split(ends) for x in (given.logits.float(), given.labels)), strict=True)
    ]
    out["all figures of other batches"] = gap(
        flat(evaluate.result(evaluate.observe(Echo(), batches), given.counts, names)), flat(found)
    )
    order = torch.randperm(n, generator=generator)
    again = evaluate.judge(given.logits[order].float(), given.labels[order], given.counts, names)
    out["all figures in another order"] = gap(flat(again), flat(found))
    out["average precisions in another order"] = gap(
        metrics.average_precisions(given.scores[order], given.targets[order]).tolist(),
        metrics.average_precisions(given.scores, given.targets).tolist(),
    )
    return out


def _batch(logits: Tensor, labels: Tensor) -> Batch:
    return Batch(logits[None], labels, torch.arange(len(labels)), torch.arange(len(labels)))


def measure(sets: int) -> tuple[dict[str, float], dict[str, float], Counter[str]]:
    """Over the seeds 0 to sets − 1: the largest difference by figure, by cut, and how many sets have each case."""
    worst: dict[str, float] = {}
    cut: dict[str, float] = {}
    kinds: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # remarks on such data; the figures are what they should be
        for seed in range(sets):
            given = draw(seed)
            kinds.update(kind for kind, there in given.kinds().items() if there)
            for into, found in ((worst, {n: gap(*p) for n, p in pairs(given).items()}), (cut, differences(given, seed))):
                into.update({name: max(into.get(name, 0.0), value) for name, value in found.items()})
    return worst, cut, kinds


def main() -> None:
    """The part of the soak."""
    parser = argparse.ArgumentParser(prog="python -m soak.metrics")
    parser.add_argument("--sets", type=int, default=2000)
    sets = parser.parse_args().sets
    torch.set_num_threads(1)
    part = Part("metrics", "Metrics do not lie")
    worst, cut, kinds = measure(sets)
    counts, shares = ({n: v for n, v in worst.items() if (n in COUNTED) == counted} for counted in (True, False))
    most = max(shares, key=shares.__getitem__)
    part.add(
        "Every figure equals that of scikit-learn, SciPy or a plain loop",
        f"2,000 random label sets, difference at most {BOUND:g}",
        f"{sets:,} sets, {len(shares)} figures, largest difference {shares[most]:.1e} ({most})",
        sets >= 2000 and shares[most] <= BOUND,
        "a figure that is undefined on one side only would count as infinitely far",
    )
    part.add(
        "Counts and ranks are exact",
        "0 differences",
        f"{sets:,} sets, {sum(value > 0 for value in counts.values())} of {len(counts)} kinds differ",
        not any(counts.values()),
    )
    same = ("tallies of 1 to 4 shares", "figures of 1 to 4 shares", "all figures of other batches")
    part.add(
        "Shares of 1 to 4 ranks, uneven and empty ones too, and other batches give the same tallies and figures",
        "bit-equal",
        f"{sets:,} sets, largest difference {max(cut[name] for name in same):.1e}",
        not any(cut[name] for name in same),
    )
    moved = max(cut[name] for name in cut if name not in same)
    part.add(
        "Samples in another order give the same figures",
        f"difference at most {REORDERED:g}",
        f"{sets:,} sets, largest difference {moved:.1e}",
        moved <= REORDERED,
        "tallies are bit-equal; the calibration error is a sum of floats, whose last bits depend on the order",
    )
    least, rarest = min((kinds[kind], kind) for kind in draw(0).kinds())
    part.add(
        "The sets hold the cases that metrics get wrong",
        "absent, single-sample and never-predicted classes, each in 100 sets or more",
        f"the rarest case, {rarest}, is in {least} sets",
        all(kinds[kind] >= 100 for kind in list(draw(0).kinds())[:3]),
    )
    part.table("Largest difference by figure", [{"figure": n, "largest difference": f"{v:.1e}"} for n, v in worst.items()])
    part.table(
        "Largest difference by cut", [{"cut": name, "largest difference": f"{value:.1e}"} for name, value in cut.items()]
    )
    part.table("Cases among the sets", [{"case": kind, "sets": count} for kind, count in kinds.most_common()])
    part.write()


if __name__ == "__main__":
    main()
