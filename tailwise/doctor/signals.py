"""What detectors look at: the figures of every epoch, and those of the judge."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

VITAL = "vital_"
"""How the log calls what modules tell of themselves (`tailwise.doctor.vitals`) and the learning rate."""

SPLITS = ("val", "test")
"""What epochs may be looked at on; a run has one of them."""

Series = Mapping[int, float]
"""A figure after each epoch that has it, counted from 1."""


class Signals(NamedTuple):
    """What is known of a run, finished or not."""

    series: Mapping[str, Series]  # by the figure's name in the log
    epochs: float  # that were planned, or trained
    result: Mapping[str, Any]  # the result block, empty before the end

    @property
    def epoch(self) -> int:
        """The last epoch that has a figure, 0 for none."""
        return max((max(of) for of in self.series.values()), default=0)

    def looks(self, figure: str) -> Series:
        """A figure of the looks between epochs, such as "few"; empty where there is none."""
        return next((found for split in SPLITS if (found := self.series.get(f"{split}_{figure}"))), {})

    def vitals(self, name: str) -> Mapping[str, Series]:
        """What modules tell under this name, by their place in the objective."""
        return {
            key.removeprefix(VITAL).removesuffix(name).strip("_"): of
            for key, of in self.series.items()
            if key.startswith(VITAL) and key.endswith(name)
        }


def signals(log: Iterable[Mapping[str, Any]], epochs: float = 0, result: Mapping[str, Any] | None = None) -> Signals:
    """From the rows of ``metrics.jsonl`` and, of a finished run, ``result.json``, which also knows the ``epochs``."""
    series: dict[str, dict[int, float]] = {}
    for row in log:
        for key, value in row.items():
            if "epoch" in row and key not in ("step", "epoch") and not key.endswith("_step") and value is not None:
                series.setdefault(key, {})[int(row["epoch"]) + 1] = float(value)
    result = result or {}
    return Signals(series, float(result.get("epochs") or epochs), result)
