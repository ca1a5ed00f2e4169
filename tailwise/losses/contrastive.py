"""The frame of methods that compare projected features with one another."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from tailwise import distributed
from tailwise.counts import Counts
from tailwise.losses.heads import Projection
from tailwise.losses.objective import Objective, require
from tailwise.losses.samples import Balanced, Draw
from tailwise.types import Batch, Model, Output


class Columns(NamedTuple):
    """Anchors of this rank, and the columns that they are compared with: the anchors of all ranks."""

    anchors: Tensor  # (M, d) unit rows
    labels: Tensor  # (M,) IGNORE allowed
    columns: Tensor  # (N, d)
    column_labels: Tensor  # (N,)
    position: Tensor  # (M,) which column is the anchor itself


class Contrastive(Objective, ABC):
    """Works on unit rows that ``projector`` makes of the features.

    - ``temperature`` T > 0: of the softmax over similarities.
    - ``width``, ``hidden``: of the projection, by default half and all of the feature width.
    - ``pixels``: which of them are drawn of each image of a dense task, by default `Balanced`.
    """

    mixed = False
    projection: type[Projection] = Projection
    """What makes rows on the sphere."""

    def __init__(
        self,
        counts: Counts,
        model: Model,
        temperature: float = 0.1,
        width: int | None = None,
        hidden: int | None = None,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(counts, model)
        require(temperature > 0, f"{type(self).__name__}: temperature must be positive, got {temperature}")
        self.temperature, self.pixels = temperature, pixels or Balanced()
        self.width, self.hidden = width or self.default_width(model), hidden
        self.projector = self.projection(model.dim, self.width, hidden)

    def default_width(self, model: Model) -> int:
        """The ``width`` where none is given."""
        return max(model.dim // 2, 1)

    @abstractmethod
    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """See `Objective`."""

    def columns(self, features: Tensor, labels: Tensor) -> Columns:
        """Projections of features (V, N, D) labelled (N,), as anchors and as columns; a sample's views lie side by side."""
        anchors = self.projector(features).transpose(0, 1)  # (N, V, d): gathering keeps the order of the global batch
        columns = distributed.gather(anchors).flatten(0, 1)
        labels = labels.repeat_interleave(anchors.shape[1])
        return Columns(anchors.flatten(0, 1), labels, columns, distributed.gather_keys(labels), distributed.positions(labels))


def class_sums(rows: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The sum of each class's rows (C, d), for rows (N, d) and labels (N,); an IGNORE row is in none."""
    valid = labels >= 0
    return rows.new_zeros(classes, rows.shape[1]).index_add(0, labels[valid], rows[valid])
