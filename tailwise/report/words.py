"""What every run for images is said to be, whatever its labels: what it was trained on, and what its figures warn of."""

from collections.abc import Mapping, Sequence
from typing import Any

from tailwise.report.figures import Figures
from tailwise.report.text import percent

# From where on a warning is worth a reader's time; ours.
COARSE, MEMORISED, GAIN, RISING, FALLEN = 10, 0.3, 0.01, 0.01, 0.03

Result = Mapping[str, Any]


def named(names: Sequence[str], limit: int = 5) -> str:
    """Names one after another, of many the first few."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def several(n: int, thing: str) -> str:
    """A number and what it counts: 1 image, 2 images, 2 classes."""
    return f"{n:,} {thing}{'' if n == 1 else 'es' if thing.endswith('s') else 's'}"


def trained(result: Result, thing: str) -> str:
    """What was trained on how many things of how many classes."""
    counts = sorted((row["train"] for row in result["per_class"] if row["train"]), reverse=True) or [0]
    method = f"{result['objective']} was trained" if "objective" in result else "A model was trained"
    data = f" on {result['data']}" if "data" in result else ""
    return (
        f"{method}{data}: {several(sum(counts), thing)} of {several(len(result['per_class']), 'class')}. The most frequent "
        f"class has {counts[0]:,}, the rarest {counts[-1]:,} (imbalance factor {counts[0] / max(counts[-1], 1):.3g})."
    )


def by_group(result: Result, names: Mapping[str, str]) -> str:
    """The headline of each group that has classes; ``names`` says what the groups are called, by key."""
    sizes = result["classes_in_group"]
    shares = {group: percent(result[group]) + (" %" if result[group] is not None else "") for group in names if sizes[group]}
    said = (f"{share} {names[g]} ({result['edges'][g]}; {several(sizes[g], 'class')})" for g, share in shares.items())
    return f"By training images of a class: {', '.join(said)}."


def lowest(result: Result, shown: Figures) -> str:
    """The three classes that are recognised worst."""
    title, key = shown.main
    tested = [row for row in result["per_class"] if row[key] is not None]
    rows = sorted(tested, key=lambda row: (row[key], row["train"]))[:3]
    said = ", ".join(f"{row['name']} ({percent(row[key])} %)" for row in rows) or percent(None)
    return f"Lowest {title}: {said}."


def missing(result: Result) -> list[str]:
    """Classes that have no image to learn from, or none to be judged by."""
    classes, found = result["per_class"], []
    if untrained := [row["name"] for row in classes if row["train"] == 0]:
        found.append(
            f"Without a training image, so nothing could be learnt: {several(len(untrained), 'class')} ({named(untrained)})."
        )
    if untested := [row["name"] for row in classes if not row["test"]]:
        found.append(
            f"Without a test image: {several(len(untested), 'class')} ({named(untested)}). Nothing is known of them, and no "
            "mean here counts them."
        )
    return found


def few_tested(result: Result) -> int:
    """How many test images half of the tested classes have at most, where that is too few; else 0."""
    sizes = sorted(row["test"] for row in result["per_class"] if row["test"])
    n: int = sizes[len(sizes) // 2] if sizes else 0
    return n if n < COARSE else 0


def memorised(gap: float | None, what: str) -> list[str]:
    """What a ``gap`` between training and test images of rare classes says, if it is large."""
    if gap is None or gap <= MEMORISED:
        return []
    return [
        f"Rare classes are learnt by heart: their {what} is {percent(gap)} points higher on the training images. "
        "More augmentation, pretrained weights or more images help; more epochs do not."
    ]


def of_training(result: Result, log: Sequence[Mapping[str, Any]], figure: str, called: str) -> list[str]:
    """Whether training ended too early or too late, by the ``figure`` of the looks on a validation split."""
    looks = [row[f"val_{figure}"] for row in log if row.get(f"val_{figure}") is not None]
    best = result.get("best_epoch")
    if best and looks and best[figure] - looks[-1] > FALLEN:
        return [
            f"On the validation split epoch {best['epoch']} was better than the last by "
            f"{percent(best[figure] - looks[-1])} points: training went on for too long, or the split is small."
        ]
    earlier = looks[: len(looks) * 4 // 5]
    if len(looks) >= 5 and max(looks) == looks[-1] and looks[-1] - max(earlier) > RISING:
        return [f"The {called} was still rising at the end of training: more epochs are likely to help."]
    return []
