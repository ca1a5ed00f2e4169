"""What a loss does with infinitely many samples: the scores it settles at, and where it lets them rest."""

from collections.abc import Callable

import torch
from torch import Tensor

Values = Callable[[Tensor, Tensor], Tensor]


def expected(values: Values, scores: Tensor, posterior: Tensor) -> Tensor:
    """Σ_x Σ_c p(c|x) ℓ(f(x), c) for scores and a posterior (X, C)."""
    inputs, classes = posterior.shape
    labels = torch.arange(classes).repeat(inputs)
    return (posterior.flatten() * values(scores.repeat_interleave(classes, 0), labels)).sum()


def settle(values: Values, posterior: Tensor) -> Tensor:
    """The scores (X, C) of least expected loss, found by descent from zero."""
    scores = torch.zeros_like(posterior).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [scores], max_iter=2000, tolerance_grad=1e-11, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = expected(values, scores, posterior)
        loss.backward()
        return loss

    optimizer.step(closure)
    return scores.detach()


def pull_at_equal_scores(values: Values, log_prior: Tensor, carried: Tensor) -> Tensor:
    """The expected gradient (C,) where all scores are 0 and should be: 0 if the carried prior is right.

    Scores less the carried prior claim the posterior of a balanced population, so that of training is π / carried.
    """
    scores = torch.zeros(1, log_prior.numel(), dtype=torch.float64, requires_grad=True)
    posterior = (log_prior.double() - carried.double()).softmax(0)
    (gradient,) = torch.autograd.grad(expected(values, scores, posterior[None]), scores)
    return gradient[0]
