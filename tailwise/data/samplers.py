"""Samplers: which training samples an epoch shows, and in which order.

N labels, n_c of class c, C classes. A sampler aims at class shares p_c, and an epoch has N draws whatever they are. It
is a function of labels, seed and epoch alone, so that an epoch can be drawn again at any time and in any process.
"""

import torch
from torch import Tensor

from tailwise import rng
from tailwise.counts import count_labels, effective_number, turns
from tailwise.types import TailwiseError

ORDER, KEY, TURN = 0, 1, 2
"""The draws of one epoch: the order of the samples, the samples' keys, and whose turn it is within a class."""
_UNIT = 10**6  # fractions of a draw are counted in millionths, so that equal ones are equal whatever the rounding


class Sampler:
    """Draws every class as often as its share says, exactly; a subclass says the shares.

    Class c gets N p_c draws, rounded by `largest_remainder`. Its images take turns in a random order, from the start
    again when all have been shown: with m draws for n images each is shown ⌊m / n⌋ or ⌈m / n⌉ times, and chance says
    which. Then all draws are shuffled. Independent draws would have these numbers only on average.
    """

    def shares(self, counts: Tensor, progress: float) -> Tensor:
        """p_c (C,) float64 for class counts (C,) at ``progress`` ∈ [0, 1]; they sum to 1, absent classes have 0."""
        raise NotImplementedError

    def __call__(self, labels: Tensor, classes: int, seed: int, epoch: int, epochs: int) -> Tensor:
        """Indices (N,) int64 into ``labels`` (N,) in 0..C−1, in the order of epoch ``epoch`` of ``epochs`` (from 0).

        Progress is epoch / (epochs − 1), 0 in a run of one epoch, and stays at its last value after the run's end.
        Raises `TailwiseError` for labels that are not one class per sample.
        """
        _check(labels, classes, type(self).__name__)
        samples, counts, last = len(labels), count_labels(labels, classes), epochs - 1
        draws = largest_remainder(self.shares(counts, min(epoch, last) / max(last, 1)), samples)
        mixed = rng.permutation(samples, seed, epoch, TURN)
        by_class = mixed[torch.argsort(labels[mixed], stable=True)]
        c = torch.repeat_interleave(draws)  # (N,) the class of each draw
        index = by_class[(counts.cumsum(0) - counts)[c] + turns(draws) % counts[c]]
        return index[rng.permutation(samples, seed, epoch, ORDER)]


class Shuffled(Sampler):
    """Every sample once, in random order: p_c ∝ n_c, instance-balanced. Labels of any kind and shape will do."""

    def shares(self, counts: Tensor, progress: float) -> Tensor:
        """See `Sampler`."""
        return _normalised(counts)

    def __call__(self, labels: Tensor, classes: int, seed: int, epoch: int, epochs: int) -> Tensor:
        """A permutation (N,) of the samples."""
        return rng.permutation(len(labels), seed, epoch, ORDER)


class ClassBalanced(Sampler):
    """The same share for every class that occurs: class-aware sampling (Shen et al., ECCV 2016).

    The classifiers of cRT are trained with it (Kang et al., ICLR 2020). An epoch of theirs has C · max_c n_c draws.
    """

    def shares(self, counts: Tensor, progress: float) -> Tensor:
        """See `Sampler`."""
        return _normalised(counts > 0)


class SquareRoot(Sampler):
    """p_c ∝ √n_c, half-way between instances and classes (Mahajan et al., ECCV 2018)."""

    def shares(self, counts: Tensor, progress: float) -> Tensor:
        """See `Sampler`."""
        return _normalised(counts.double().sqrt())


class EffectiveNumber(Sampler):
    """Each sample is drawn with a weight 1 / E_n, so that p_c ∝ n_c (1 − β) / (1 − β^n_c).

    E_n is the effective number of a class's samples (Cui et al., CVPR 2019, who weight the loss by it). β = 0 is
    instance-balanced; β → 1 is class-balanced. Raises `TailwiseError` for β outside [0, 1).
    """

    def __init__(self, beta: float = 0.9999) -> None:
        if not 0 <= beta < 1:
            raise TailwiseError(f"EffectiveNumber: beta must lie in [0, 1), got {beta}")
        self.beta = beta

    def shares(self, counts: Tensor, progress: float) -> Tensor:
        """See `Sampler`."""
        return _normalised(counts / effective_number(counts, self.beta))


class ProgressivelyBalanced(Sampler):
    """p_c = (1 − t) n_c / N + t / C', from instance- to class-balanced over the run (Kang et al., ICLR 2020).

    C' classes occur. The paper's t is epoch / epochs; here it is the progress, which reaches 1 in the last epoch, as in
    the authors' code.
    """

    def shares(self, counts: Tensor, progress: float) -> Tensor:
        """See `Sampler`."""
        return (1 - progress) * _normalised(counts) + progress * _normalised(counts > 0)


def largest_remainder(shares: Tensor, total: int) -> Tensor:
    """``total`` · p_c in whole numbers (C,) int64 of sum ``total``, from shares (C,) ≥ 0 of sum 1 (or all 0, for none).

    All are rounded down, and what is missing goes to the largest fractions, one each; among equals to the first classes.
    """
    wanted = (total * shares * _UNIT).round().to(torch.int64)
    given, fraction = wanted // _UNIT, wanted % _UNIT
    first = torch.argsort(fraction, descending=True, stable=True)[: total - int(given.sum())]
    given[first] += 1
    return given


def _normalised(weights: Tensor) -> Tensor:
    """Weights (C,) over their sum, float64. The least weight of a class that occurs is 1, so no sum lies between 0 and 1."""
    return weights.double() / weights.double().sum().clamp(min=1)


def _check(labels: Tensor, classes: int, sampler: str) -> None:
    if labels.ndim != 1 or labels.is_floating_point():
        what = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise TailwiseError(f"sampler {sampler}: labels are {what}, not one class per sample; use Shuffled")
    if bool((outside := (labels < 0) | (labels >= classes)).any()):
        i = int(outside.nonzero()[0])
        raise TailwiseError(f"sampler {sampler}: sample {i} has label {int(labels[i])}, which is no class; use Shuffled")
