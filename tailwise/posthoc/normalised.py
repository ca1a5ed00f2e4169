"""τ-normalisation of a linear classifier (Kang et al., ICLR 2020)."""

import math

import torch
from torch import Tensor

from tailwise.counts import absent
from tailwise.metrics import recalls, tally
from tailwise.models import Network
from tailwise.models.classifiers import Cosine
from tailwise.posthoc.step import NEVER, Edited, PostHoc, Validation, labelled
from tailwise.types import TailwiseError

GRID = tuple(step / 10 for step in range(21))
"""The values of τ that are tried: 0, 0.1, …, 2."""


def divisors(rows: Tensor, tau: float) -> Tensor:
    """‖w_c‖^τ (C,) float64 of the rows (C, D), and 1 for a row of zeros."""
    lengths = rows.double().norm(dim=1)
    return torch.where(lengths > torch.finfo(torch.float32).tiny, lengths, 1.0) ** tau


def tau_normalised(rows: Tensor, tau: float) -> Tensor:
    """w_c / ‖w_c‖^τ (C, D) float64 for rows (C, D): τ = 0 changes nothing, τ = 1 gives unit rows; a row of zeros stays.

    Rows of frequent classes are longer after training; τ takes that advantage away by degrees.
    """
    return rows.double() / divisors(rows, tau)[:, None]


def choose_tau(scores: Tensor, labels: Tensor, rows: Tensor, excluded: Tensor) -> float:
    """The τ of the grid with the highest mean recall on held-out samples, the smallest of equals.

    ``scores`` (N, C) are w_c · f, without the bias; ``labels`` (N,), at least one of them not IGNORE; ``rows`` (C, D);
    ``excluded`` (C,) bool are the classes that are never predicted. Classes without a sample do not count.
    """
    found = []
    for tau in GRID:
        scaled = (scores.double() / divisors(rows, tau)).masked_fill(excluded, -torch.inf)
        found.append(float(recalls(tally(scaled.argmax(-1), labels, rows.shape[0])).nanmean()))
    return GRID[found.index(max(found))]


class TauNormalisation(PostHoc):
    """Divides the rows of a linear (or scaled) classifier by ‖w_c‖^τ and drops the bias.

    ``tau`` ≥ 0; None chooses it on the validation samples. A class that was absent from training has a short row that
    division would blow up, so it gets a bias with which it is never predicted. What prior the logits carry afterwards
    is not known; it is given as uniform, so that nobody corrects them again.
    """

    reads_validation = True

    def __init__(self, tau: float | None = None) -> None:
        if tau is not None and not 0 <= tau < math.inf:
            raise TailwiseError(f"TauNormalisation: tau must be at least 0 and finite, got {tau}")
        self.tau = tau

    @torch.no_grad()
    def __call__(self, network: Network, validation: Validation | None, counts: Tensor, carried_log_prior: Tensor) -> Edited:
        """See the class."""
        classifier = network.classifier
        if isinstance(classifier, Cosine) or network.config["classifier"] == "cosine":  # the second, of several experts
            raise TailwiseError(
                "TauNormalisation: a cosine classifier's rows are normalised already; set model.classifier linear"
            )
        rows, excluded, tau = classifier.weight.double().cpu(), absent(counts).cpu(), self.tau
        if tau is None:
            seen = labelled(validation, "TauNormalisation: set tau, or hold out data.validation")
            tau = choose_tau(seen.logits - classifier.bias.double().cpu(), seen.labels, rows, excluded)
        classifier.assign(tau_normalised(rows, tau), torch.zeros(len(rows)).masked_fill(excluded, NEVER))
        return Edited(torch.zeros_like(carried_log_prior, dtype=torch.float64), {"tau": tau} if self.tau is None else {})
