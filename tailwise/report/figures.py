"""Which figures of a result block stand in a table: recalls by shots where images were judged, IoUs where pixels were."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tailwise.types import TailwiseError

Result = Mapping[str, Any]


class Figures(NamedTuple):
    """How the results of one kind of task are shown."""

    headline: str  # the key of the main figure, also of a best epoch
    title: str  # its column
    about: str  # what all of them are
    columns: Mapping[str, Callable[[Result], float | None]]  # further columns
    worst: Callable[[Result], float | None]
    edges: Callable[[Result], str]  # of the groups, with their numbers of classes


def _shot_edges(result: Result) -> str:
    edges, sizes = result["edges"], result["classes_in_group"]
    return "Training samples per class: " + ", ".join(f"{g} {edges[g]} ({_classes(sizes[g])})" for g in SHOTS)


def _share_edges(result: Result) -> str:
    edges, groups = result["edges"], result["groups"]
    shares = ", ".join(f"{g} {edges[g]} ({_classes(groups[g]['classes'])})" for g in SHARES)
    return f"Share of the training pixels, of C classes: {shares}"


def _classes(n: int) -> str:
    return f"{n} class" if n == 1 else f"{n} classes"


SHOTS = ("many", "medium", "few")
SHARES = ("head", "medium", "tail")

IMAGES = Figures(
    headline="balanced",
    title="all",
    about="Mean recall over classes",
    columns={group: lambda result, group=group: result[group] for group in SHOTS},  # type: ignore[misc]
    worst=lambda result: (result["worst"] or {}).get("recall"),
    edges=_shot_edges,
)
PIXELS = Figures(
    headline="miou",
    title="mIoU",
    about="Mean IoU over classes, of all pixels",
    columns={group: lambda result, group=group: result["groups"][group]["miou"] for group in SHARES}
    | {"tail recall": lambda result: result["groups"]["tail"]["accuracy"]}
    | {"tail precision": lambda result: result["groups"]["tail"]["precision"]},
    worst=lambda result: (result["worst"] or {}).get("iou"),
    edges=_share_edges,
)


def figures(results: Iterable[Result]) -> Figures:
    """What a table of these results shows; raises `TailwiseError` where some judge images and others pixels."""
    kinds = {PIXELS.headline in result for result in results}
    if len(kinds) == 2:
        raise TailwiseError("report: some of these runs label images, others pixels; compare them apart")
    return PIXELS if True in kinds else IMAGES
