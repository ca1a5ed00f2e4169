"""Supervised contrast (Khosla et al., NeurIPS 2020) and its non-negative form (Kini et al., ICLR 2024)."""

import torch
from torch import Tensor

from tailwise.counts import count_labels
from tailwise.distributed import global_mean
from tailwise.kernels import class_lse
from tailwise.losses.contrastive import class_sums
from tailwise.losses.heads import NonNegativeProjection
from tailwise.losses.objective import full_precision
from tailwise.losses.two_branch import TwoBranch
from tailwise.types import IGNORE, Batch, Model, Output


@full_precision
def supervised_contrastive(
    anchors: Tensor,  # (M, d) unit rows
    labels: Tensor,  # (M,)
    columns: Tensor,  # (N, d) unit rows
    column_labels: Tensor,  # (N,) IGNORE allowed
    position: Tensor,  # (M,) which column is the anchor itself, -1 if none is
    temperature: float,
    log_prior: Tensor | None = None,  # (C,) None for the uniform prior of SupCon
) -> Tensor:
    """The "out" form of supervised contrast, with the mean over positives outside the logarithm, per anchor (M,).

    With S_ik = z_i · a_k / τ over the columns::

        ℓ_i = log Σ_{k≠i} π_{y_k} e^{S_ik}  −  mean_{k≠i, y_k=y_i} S_ik  −  log π_{y_i}

    A constant π cancels: that is SupCon with τ₀ = τ. An anchor without positives gives 0 and stays in the mean. The value
    for an IGNORE anchor is finite and means nothing.
    """
    own, valid = labels.clamp(min=0), column_labels >= 0
    bias = anchors.new_zeros(len(columns)) if log_prior is None else log_prior[column_labels.clamp(min=0)]
    bias = bias.masked_fill(~valid, -torch.inf)
    index = torch.arange(columns.shape[0], device=labels.device)
    lse = class_lse(anchors, columns, bias, temperature, labels, column_labels, position, index)
    # Sums of the classes that are here: with as many classes as there may be, and a width as large, others would not fit
    here, number = torch.unique(torch.cat([own, column_labels]), return_inverse=True)
    number, of_columns = number[: len(own)], number[len(own) :].masked_fill(~valid, IGNORE)
    positives = count_labels(of_columns, len(here))[number] - lse.itself_keys
    rest = class_sums(columns, of_columns, len(here))[number] - columns[position] * lse.itself_keys[:, None]
    positive = (anchors * rest).sum(1) / positives.clamp(min=1) / temperature
    value = torch.logaddexp(lse.others, lse.own) - positive - (0.0 if log_prior is None else log_prior[own])
    return value.masked_fill(positives < 1, 0.0)


class SupCon(TwoBranch):
    """λ · logit-adjusted cross-entropy on the first view + μ · supervised contrast among the second and third.

    The published form has two stages: λ = 0 here, then a recipe that trains a classifier on the fixed backbone; the joint
    form with λ = 1 and τ = 1 is the default. T = 0.1 as in the authors' CIFAR command. Frequent classes give most pairs,
    and under imbalance their means spread while those of rare classes crowd together.
    """

    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """The mean of `supervised_contrastive` over labelled anchors."""
        rows = self.in_batch(out, batch)
        return global_mean(supervised_contrastive(*rows, self.temperature), rows.labels >= 0)


class NonNegativeSupCon(SupCon):
    """`SupCon` on features without negative entries: at the optimum the class means are orthogonal at any imbalance.

    Over one full batch the least sum is Σ_c n_c log(n_c − 1 + (N − n_c) e^{−1/τ}). Needs a ``width`` of at least C, so
    the default is C where half the feature width is less (our choice). The authors also append an exemplar of every
    class to each batch ("batch-binding"); that is a matter of the sampler and not done here. Made from the abstract and
    the closed form: we found no code by the authors.
    """

    projection = NonNegativeProjection

    def default_width(self, model: Model) -> int:
        """Room for orthogonal means."""
        return max(model.dim // 2, model.classes)
