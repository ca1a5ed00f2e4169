"""GML whose queue, and the projection of it, are shared out among the processes that train together."""

import torch
from torch import Tensor

from tailwise.counts import allocate
from tailwise.distributed import gather, gather_keys, global_sum, positions
from tailwise.kernels import ClassLSE
from tailwise.losses.gml import GML
from tailwise.losses.heads import SharedRowNorm
from tailwise.losses.keys import Refresh
from tailwise.losses.mixture import Likelihood, Mixture, bounded, left_out, mixture_sums, posterior
from tailwise.losses.objective import full_precision, require
from tailwise.queue import ShardedClassQueue


def over_ranks(lse: ClassLSE) -> ClassLSE:
    """From sums over each rank's keys, of the same queries (N,) on every rank, to sums over the keys of all.

    The log-sum-exp of log-sum-exps, means weighted by shares, and added counts: seven numbers per query and rank travel.
    """
    parts = gather(torch.stack([lse.others, lse.own, lse.itself])[None])  # (W, 3, N)
    others, own, itself = whole = parts.logsumexp(0)
    mean = ((parts - whole).exp().detach() * gather_keys(lse.mean[None])).sum(0)
    return ClassLSE(others, own, itself, global_sum(lse.itself_keys), mean)


@full_precision
def sharded_mixture(
    queries: Tensor,  # (B, d) of this rank, as all of the arguments; equal B on every rank
    labels: Tensor,
    index: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    key_index: Tensor,
    log_prior: Tensor,
    filled: Tensor,  # (C,) keys per class over all ranks
    log_temperature: Tensor,
    likelihood: Likelihood = posterior,
) -> Mixture:
    """`gaussian_mixture` over the keys of all ranks, of which each holds its own; per query (B,) of this rank.

    Every rank sums over its keys for the queries of all. The gradient is exact: that of a key comes from the queries of
    all ranks, that of a query from all keys.
    """
    asked, temperature = (gather(queries), gather_keys(labels), gather_keys(index)), bounded(log_temperature)
    sums = mixture_sums(*asked, keys, key_labels, key_index, log_prior, filled, temperature.detach())
    lse = ClassLSE(*(values[..., positions(labels)] for values in over_ranks(sums)))
    variance = left_out(lse.of_temperature(temperature), labels, filled)
    return Mixture(likelihood(lse, labels, filled), variance)


class GMLSharded(GML):
    """GML on W processes of which each holds, projects and compares with 1/W of the queue; the loss is that of GML.

    Whole, the queue costs every process as much as one alone. Here the batch's queries travel to all ranks and a few sums
    per query come back. The norm in the key head sees the rows of all ranks. On one process it is `GML`.
    """

    mixture = staticmethod(sharded_mixture)
    key_norm = SharedRowNorm

    def make_queue(self, size: int, floor: int) -> ShardedClassQueue:
        """As `GML.make_queue`, dealt out over the processes."""
        require(not isinstance(self.projection, Refresh), "GMLSharded: Refresh keeps keys of a whole queue; project by Whole")
        return ShardedClassQueue(allocate(self.counts, size, floor), self.teacher.dim)
