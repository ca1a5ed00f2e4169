"""Balanced contrastive learning (Zhu et al., CVPR 2022)."""

import torch
from torch import Tensor, nn

from tailwise.counts import Counts, count_labels
from tailwise.distributed import global_mean
from tailwise.kernels import class_lse
from tailwise.losses.contrastive import Columns, class_sums
from tailwise.losses.heads import Projection
from tailwise.losses.objective import full_precision
from tailwise.losses.samples import Draw
from tailwise.losses.two_branch import TwoBranch
from tailwise.types import Batch, Model, Output


@full_precision
def balanced_contrastive(
    anchors: Tensor,  # (M, d) unit rows
    labels: Tensor,  # (M,)
    columns: Tensor,  # (N, d) unit rows, the anchors of all ranks among them
    column_labels: Tensor,  # (N,) IGNORE allowed
    position: Tensor,  # (M,) which column is the anchor itself
    prototypes: Tensor,  # (C, d) unit rows, one for each class
    temperature: float,
    log_prior: Tensor | None = None,  # (C,) None for the uniform prior of BCL
) -> Tensor:
    """Class-averaged, class-complemented supervised contrast, per anchor (M,).

    With S_ik = z_i · a_k / τ over the columns and the prototypes, n_c the number of those of class c, and w_ik = n_c,
    one less for the anchor's own class::

        ℓ_i = log Σ_{k≠i} π_{y_k} e^{S_ik} / w_ik  −  mean_{k≠i, y_k=y_i} S_ik  −  log π_{y_i}

    Equation 9 of the BCL paper with π constant. The value for an IGNORE anchor is finite and means nothing.
    """
    classes, own = prototypes.shape[0], labels.clamp(min=0)
    valid = column_labels >= 0
    keys = torch.cat([columns, prototypes])
    key_labels = torch.cat([column_labels, torch.arange(classes, device=labels.device)])
    key_index = torch.arange(keys.shape[0], device=labels.device)
    size = (count_labels(column_labels, classes) + 1).to(keys.dtype)
    log_weight = -size.log() if log_prior is None else log_prior - size.log()
    bias = torch.cat([log_weight[column_labels.clamp(min=0)].masked_fill(~valid, -torch.inf), log_weight])

    lse = class_lse(anchors, keys, bias, temperature, labels, key_labels, position, key_index)
    others = (size[own] - 1).clamp(min=1)  # of the own class, without the anchor
    every = torch.logaddexp(lse.others, lse.own + (size[own] / others).log())

    members = class_sums(columns, column_labels, classes)
    rest = (members + prototypes)[own] - columns[position]
    positive = (anchors * rest).sum(1) / others / temperature
    return every - positive - (0.0 if log_prior is None else log_prior[own])


class BCL(TwoBranch):
    """Balanced contrastive learning (Zhu et al., CVPR 2022), of three views. On the first one logit-adjusted cross-entropy,
    between the others contrast in which every class has the same weight, see `balanced_contrastive`::

        ℓ = λ ℓ_LA + μ mean_i [ log Σ_{k≠i} e^(z_i · a_k / T) / w_ik  −  mean_{k≠i, y_k=y_i} z_i · a_k / T ]

    over the unit rows a of both views and one prototype for each class, w_ik their number in the class of k without i.
    Prototypes are a projection of the classifier's rows, so the contrast trains the classifier too.

    Options are those of `TwoBranch`. Defaults: λ = 1, μ = 0.35, T = 0.1 as in the authors' code; the paper's CIFAR runs
    have λ = 2, μ = 0.6, a hidden width of 512 and 128 outputs.
    """

    def __init__(
        self,
        counts: Counts,
        model: Model,
        contrast_weight: float = 0.35,
        classifier_weight: float = 1.0,
        tau: float = 1.0,
        temperature: float = 0.1,
        width: int | None = None,
        hidden: int | None = None,
        pixels: Draw | None = None,
    ) -> None:
        super().__init__(counts, model, classifier_weight, contrast_weight, tau, temperature, width, hidden, pixels)
        self.prototypes = self.make_prototypes(model.dim)

    def make_prototypes(self, dim: int) -> nn.Module:
        """From the classifier's rows (C, dim) to prototypes (C, width)."""
        return Projection(dim, self.width, self.hidden)

    def values(self, rows: Columns, prototypes: Tensor) -> Tensor:
        """The contrastive value of each anchor (M,), given a prototype (C, d) for each class."""
        return balanced_contrastive(*rows, prototypes, self.temperature)

    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """The mean of `values` over labelled anchors."""
        rows = self.in_batch(out, batch)
        return global_mean(self.values(rows, self.prototypes(out.classifier)), rows.labels >= 0)
