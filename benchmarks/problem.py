"""The one problem that every measurement of the kernels is of: a full class-wise queue, and a batch drawn from its classes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.counts import allocate, log_prior
from tailwise.kernels.problem import EMPTY, Problem

TEMPERATURE = 0.1


class MixtureProblem(NamedTuple):
    """The arguments of `tailwise.losses.mixture.gaussian_mixture`."""

    queries: Tensor  # (B, d) unit rows, with gradient
    labels: Tensor  # (B,)
    index: Tensor  # type: ignore[assignment]  # (B,)
    keys: Tensor  # (K, d) unit rows, with gradient, sorted by class
    key_labels: Tensor  # (K,)
    key_index: Tensor  # (K,)
    log_prior: Tensor  # (C,)
    filled: Tensor  # (C,) keys of each class
    log_temperature: Tensor  # () with gradient


def mixture_problem(queries: int, keys: int, classes: int, width: int, device: str = "cpu") -> MixtureProblem:
    """A queue filled from a long tail of factor 100. As in a training step, every query's own key is in it.

    Where a batch holds more of a class than the class has slots, slots are shared, and the last owns the key.
    """
    made = torch.Generator(device).manual_seed(0)
    counts = (500 * 0.01 ** (torch.arange(classes) / max(classes - 1, 1))).long()
    slots = allocate(counts, keys, 1).to(device)
    labels = torch.multinomial(counts.double().to(device), queries, replacement=True, generator=made)
    order = labels.argsort(stable=True)
    turn = torch.empty_like(order)  # which of its class in the batch each query is
    turn[order] = torch.arange(queries, device=device) - torch.searchsorted(labels[order], labels[order])
    index, key_index = torch.arange(queries, device=device), torch.arange(queries, queries + keys, device=device)
    key_index[(slots.cumsum(0) - slots)[labels] + turn % slots[labels]] = index
    key_labels = torch.arange(classes, device=device).repeat_interleave(slots)
    rows = (torch.randn(n, width, generator=made, device=device) for n in (queries, keys))
    asked, held = (F.normalize(x, dim=1).requires_grad_() for x in rows)
    prior, temperature = log_prior(counts).float().to(device), torch.tensor(TEMPERATURE, device=device).log().requires_grad_()
    return MixtureProblem(asked, labels, index, held, key_labels, key_index, prior, slots, temperature)


def lse_problem(given: MixtureProblem, dtype: torch.dtype, temperature: float = TEMPERATURE) -> Problem:
    """The log-sum-exp alone, as a backend is given it, with a key in ten absent."""
    bias = (given.log_prior - given.filled.log())[given.key_labels]
    bias[::10] = EMPTY
    queries, keys = (given.queries.detach() / temperature).to(dtype), given.keys.detach().to(dtype)
    return Problem(queries, keys, bias, given.labels, given.key_labels, given.index, given.key_index)
