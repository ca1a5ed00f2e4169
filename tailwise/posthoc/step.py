"""The protocol of a post-hoc step."""

from typing import NamedTuple

from torch import Tensor

from tailwise.models import Network
from tailwise.types import IGNORE, TailwiseError

NEVER = -1e9
"""Added to the logit of a class that may never be predicted: finite, so that a model that holds it can be saved and trained."""


class Validation(NamedTuple):
    """Held-out labelled samples as the network sees them before the step; never those of the test split."""

    logits: Tensor  # (N, C)
    labels: Tensor  # (N,) int64, IGNORE allowed


class Edited(NamedTuple):
    """What a step says about the network that it leaves."""

    carried_log_prior: Tensor  # (C,) float64, finite: the prior that its logits carry now, up to a constant
    chosen: dict[str, float]  # what the step found on the validation samples, for the run's record


class PostHoc:
    """Edits a trained network's classifier in place, without a gradient.

    Subclasses take their options in the constructor and hold nothing else, so that a step can be used again.
    """

    reads_validation = False
    """Whether it wants the logits of held-out samples."""

    def __call__(self, network: Network, validation: Validation | None, counts: Tensor, carried_log_prior: Tensor) -> Edited:
        """Change ``network.classifier``, so that what is shipped needs no correction outside the model.

        - ``validation``: logits of this network on held-out samples; None where nothing is held out.
        - ``counts`` (C,) int64: training samples per class; a class without any is never predicted afterwards.
        - ``carried_log_prior`` (C,): what the logits carry before the step; the objective states it.

        Raises `TailwiseError` for a step that needs validation samples and has none, or another classifier.
        """
        raise NotImplementedError


class Unchanged(PostHoc):
    """No step: the classifier is shipped as it was trained."""

    def __call__(self, network: Network, validation: Validation | None, counts: Tensor, carried_log_prior: Tensor) -> Edited:
        """See the class."""
        return Edited(carried_log_prior, {})


def labelled(validation: Validation | None, remedy: str) -> Validation:
    """The labelled samples; raises `TailwiseError` with ``remedy``, one line, where there is none."""
    if validation is None or not bool((kept := validation.labels != IGNORE).any()):
        raise TailwiseError(remedy)
    return Validation(validation.logits[kept].double().cpu(), validation.labels[kept].cpu())
