"""Rebalanced contrastive learning (De Alvis, Denipitiyage & Seneviratne, arXiv 2312.01753), reconstructed.

The body of the paper was not available to us: the equations below are rebuilt from its abstract, on the frame of BCL.
"""

from torch import Tensor, nn

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.bcl import BCL, balanced_contrastive
from tailwise.losses.contrastive import Columns
from tailwise.losses.objective import require
from tailwise.losses.samples import Draw
from tailwise.losses.supcon import supervised_contrastive
from tailwise.types import Batch, Model, Output


def standalone_contrastive(
    anchors: Tensor,  # (M, d) unit rows
    labels: Tensor,  # (M,)
    columns: Tensor,  # (N, d) unit rows, the anchors of all ranks among them
    column_labels: Tensor,  # (N,) IGNORE allowed
    position: Tensor,  # (M,) which column is the anchor itself
    temperature: float,
    log_prior: Tensor,  # (C,)
) -> Tensor:
    """Balanced softmax inside plain supervised contrast, per anchor (M,)::

        ℓ_i = log Σ_{k≠i} π_{y_k} e^{S_ik}  −  mean_{k≠i, y_k=y_i} S_ik  −  log π_{y_i}

    over the batch alone: no prototypes, no class averaging. An anchor without positives gives 0.
    """
    return supervised_contrastive(anchors, labels, columns, column_labels, position, temperature, log_prior)


class RCL(BCL):
    """BCL with class-frequency-balanced softmax and scaled features in the contrast (a reconstruction, see above).

    Each column carries log π of its class, so class y must beat class j by log(n_j / n_y): larger margins for tail
    classes. Both sides of a similarity are multiplied by ``scale`` γ > 0, which for unit features is a temperature
    T / γ²: below 1 the margins are larger in cosine and rare classes keep a residual pull that tightens them. γ = 1 and
    a uniform prior give BCL. The paper's own γ is unknown to us; 0.8 is our choice, near the smallest that ten classes
    at factor 100 can satisfy at T = 0.1.
    """

    def __init__(
        self,
        counts: Counts,
        model: Model,
        scale: float = 0.8,
        contrast_weight: float = 0.35,
        classifier_weight: float = 1.0,
        tau: float = 1.0,
        temperature: float = 0.1,
        width: int | None = None,
        hidden: int | None = None,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(counts, model, contrast_weight, classifier_weight, tau, temperature, width, hidden, pixels)
        require(scale > 0, f"{type(self).__name__}: scale must be positive, got {scale}")
        self.scale = scale

    def values(self, rows: Columns, prototypes: Tensor) -> Tensor:
        """Variant A: balanced softmax over BCL's class-averaged scores."""
        return balanced_contrastive(*rows, prototypes, self.temperature / self.scale**2, self.log_prior)


class RCLDenominator(RCL):
    """Variant C: the prior in the denominator only. Differs from `RCL` by −log π_y per anchor; gradients are equal."""

    def values(self, rows: Columns, prototypes: Tensor) -> Tensor:
        """Variant A plus log π of the anchor's class."""
        return super().values(rows, prototypes) + self.log_prior[rows.labels.clamp(min=0)]


class RCLStandalone(RCL):
    """Variant B: the balanced softmax in plain supervised contrast, without prototypes and class averaging."""

    def make_prototypes(self, dim: int) -> nn.Module:
        """None."""
        return nn.Identity()

    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """Columns are the features of the batch alone."""
        rows = self.in_batch(out, batch)
        values = standalone_contrastive(*rows, self.temperature / self.scale**2, self.log_prior)
        return global_mean(values, rows.labels >= 0)
