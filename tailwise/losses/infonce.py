"""Instance discrimination, InfoNCE (van den Oord et al., 2018) with a momentum encoder (MoCo; He et al., CVPR 2020)."""

import torch
from torch import Tensor

from tailwise.distributed import global_mean
from tailwise.kernels import class_lse
from tailwise.losses.momentum import MomentumContrast
from tailwise.losses.objective import full_precision
from tailwise.types import Batch, Output


@full_precision
def infonce(
    queries: Tensor,  # (M, d) unit rows
    index: Tensor,  # (M,) which sample the query is
    keys: Tensor,  # (K, d) unit rows
    key_index: Tensor,  # (K,) which sample the key was made from
    present: Tensor,  # (K,) bool: keys that take part
    position: Tensor,  # (M,) the key that is the query's other view
    temperature: float,
) -> Tensor:
    """Cross-entropy of the query's own other view among the keys of other samples, per query (M,).

    With S_ik = q_i · k / τ, p the key at ``position`` and N_i the keys that were not made from the query's sample::

        ℓ_i = log(e^{S_ip} + Σ_{k∈N_i} e^{S_ik}) − S_ip

    0 for a query whose own key is not present. Other keys of the query's sample are neither positive nor negative.
    """
    bias = queries.new_zeros(keys.shape[0]).masked_fill(~present, -torch.inf)
    place = torch.arange(keys.shape[0], device=keys.device)
    lse = class_lse(queries, keys, bias, temperature, index, key_index, position, place)
    return (torch.logaddexp(lse.others, lse.itself) - lse.itself).masked_fill(~present[position], 0.0)


class InfoNCE(MomentumContrast):
    """λ · logit-adjusted cross-entropy on the first view + μ · instance discrimination between the second and third.

    Labels take no part in the contrast, save that unlabelled samples are left out. In GML's view it is the likelihood in
    which every image is a class of its own, so it maximises the mutual information with the image's identity and not
    with its label. The label's prior is in no term of it, so features are spent on classes in proportion to their images
    and nothing in it can correct a long tail. T = 0.07 as in MoCo. λ = 0 is the first of two stages, as published.
    """

    def contrast(self, out: Output, batch: Batch) -> Tensor:
        """The mean of `infonce` over labelled queries."""
        seen = self.look(out, batch)
        values = infonce(
            seen.queries, seen.index, seen.keys, seen.key_index, seen.key_labels >= 0, seen.position, self.temperature
        )
        return global_mean(values, seen.labels >= 0)
