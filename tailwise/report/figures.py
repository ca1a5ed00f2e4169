"""Which figures of a result block stand in a table, for each kind of task: recalls of images, IoUs of pixels, AP of labels."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tailwise.types import TailwiseError

Result = Mapping[str, Any]


class Figures(NamedTuple):
    """How the results of one kind of task are shown."""

    does: str  # what its runs do, in words
    headline: str  # the key of the main figure, also of a best epoch
    title: str  # its column
    about: str  # what all of them are
    columns: Mapping[str, Callable[[Result], float | None]]  # further columns
    of_class: Mapping[str, str]  # the figures of a class, title to key; the first one says how good it is
    groups: tuple[str, ...]  # of classes, from frequent to rare
    edges: Callable[[Result], str]  # of the groups, with their numbers of classes

    @property
    def main(self) -> tuple[str, str]:
        """Title and key of what says how good a class is."""
        return next(iter(self.of_class.items()))

    def worst(self, result: Result) -> float | None:
        """The main figure of the worst class."""
        value: float | None = (result["worst"] or {}).get(self.main[1])
        return value


def _edges(counted: str, sizes: Callable[[Result], Mapping[str, int]]) -> Callable[[Result], str]:
    def said(result: Result) -> str:
        of = sizes(result)
        return f"{counted}: " + ", ".join(f"{group} {edge} ({_classes(of[group])})" for group, edge in result["edges"].items())

    return said


def _classes(n: int) -> str:
    return f"{n} class" if n == 1 else f"{n} classes"


def _listed(result: Result) -> Mapping[str, int]:
    sizes: Mapping[str, int] = result["classes_in_group"]
    return sizes


def _at(*keys: str) -> Callable[[Result], float | None]:
    """What a result holds there."""

    def found(result: Result) -> float | None:
        value: Any = result
        for key in keys:
            value = value[key]
        return None if value is None else float(value)

    return found


SHOTS = ("many", "medium", "few")
SHARES = ("head", "medium", "tail")

IMAGES = Figures(
    does="label images",
    headline="balanced",
    title="all",
    about="Mean recall over classes",
    columns={group: _at(group) for group in SHOTS},
    of_class={"recall": "recall", "precision": "precision"},
    groups=SHOTS,
    edges=_edges("Training samples per class", _listed),
)
PIXELS = Figures(
    does="label pixels",
    headline="miou",
    title="mIoU",
    about="Mean IoU over classes, of all pixels",
    columns={group: _at("groups", group, "miou") for group in SHARES}
    | {"tail recall": _at("groups", "tail", "accuracy"), "tail precision": _at("groups", "tail", "precision")},
    of_class={"IoU": "iou", "accuracy": "accuracy", "precision": "precision"},
    groups=SHARES,
    edges=_edges(
        "Share of the training pixels, of C classes", lambda result: {g: of["classes"] for g, of in result["groups"].items()}
    ),
)
MULTILABEL = Figures(
    does="give images several labels",
    headline="map",
    title="mAP",
    about="Mean average precision and macro-F1 (at probability 1/2) over classes",
    columns={group: _at(group) for group in SHARES} | {"macro-F1": _at("macro_f1")},
    of_class={"AP": "ap", "precision": "precision", "recall": "recall", "F1": "f1"},
    groups=SHARES,
    edges=_edges("Training positives per class", _listed),
)

KINDS = {"images": IMAGES, "pixels": PIXELS, "multilabel": MULTILABEL}
"""By the ``task`` of a result block."""


def figures(results: Iterable[Result]) -> Figures:
    """What a table of these results shows, that of images for none; raises `TailwiseError` where they are of several kinds.

    A result that states no task is of pixels where it has a mean IoU, else of images.
    """
    stated = (result.get("task", "pixels" if PIXELS.headline in result else "images") for result in results)
    kinds = dict.fromkeys(task if task in KINDS else "images" for task in stated) or ["images"]
    if len(kinds) > 1:
        does = ", others ".join(KINDS[kind].does for kind in kinds)
        raise TailwiseError(f"report: some of these runs {does}; compare them apart")
    return KINDS[next(iter(kinds))]
