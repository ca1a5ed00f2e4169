"""Class shares of the data that a model meets: logits moved to a target prior, and that prior estimated without labels.

N inputs without labels, V held-out samples with labels, C classes, B bootstrap replicates.
"""

import torch
from torch import Tensor

from tailwise.types import TailwiseError

STEPS, TOLERANCE = 1000, 1e-6
"""An iteration ends when no share moves by more than the tolerance in a step, or after so many steps."""

RIDGE = 0.03
"""What `bbse` pays for leaving the uniform prior: little, where the predictions say anything at all."""


def adjust(
    logits: Tensor,
    carried_log_prior: Tensor,
    target_log_prior: Tensor | None = None,
    absent: Tensor | None = None,
) -> Tensor:
    """Logits that predict under the target prior: ``f_c − log π_c + log π'_c``, of the shape and type of the logits.

    With the default, a uniform target, this is post-hoc logit adjustment with τ = 1 (Menon et al., ICLR 2021), which
    is consistent for the balanced error. With a known target it is the post-compensated softmax, PC-softmax (Hong et
    al., CVPR 2021).

    - ``logits`` (..., C).
    - ``carried_log_prior`` (C,): the prior that the logits still carry, up to a constant: log π for cross-entropy,
      (1 − τ) log π for logit adjustment at loss time, 0 for GML and BCL. An objective states its own.
    - ``target_log_prior`` (C,), None for uniform; −inf for a class that cannot occur.
    - ``absent`` (C,) bool: classes without a training sample, which get −inf and so are never predicted.

    Never correct twice. A model trained with a logit-adjusted or balanced softmax loss has met the training prior
    already; subtracting log π again favours the tail by a second factor 1/π. Pass what the objective carries.

    Raises `TailwiseError` for priors of another length, a carried prior that is not finite, and when no class is left.
    """
    classes = logits.shape[-1]
    for what, given in (("carried prior", carried_log_prior), ("target prior", target_log_prior), ("absent", absent)):
        if given is not None and given.shape != (classes,):
            raise TailwiseError(f"adjust: {what} of shape {tuple(given.shape)}; give one value for each of {classes} classes")
    if not bool(carried_log_prior.isfinite().all()):
        raise TailwiseError("adjust: the carried log prior is not finite; floor zero counts at one (counts.log_prior)")
    offset = -carried_log_prior.double()
    if target_log_prior is not None:
        offset = offset + target_log_prior.to(offset)
    if absent is not None:
        offset = offset.masked_fill(absent.to(offset.device), -torch.inf)
    if bool((offset == -torch.inf).all()):
        raise TailwiseError("adjust: no class is left to predict; one must have training samples and target mass")
    return logits + offset.to(logits)


def em(
    logits: Tensor,
    pseudo: Tensor | None = None,
    weights: Tensor | None = None,
    start: Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> Tensor:
    """The class shares under which inputs without labels are likeliest, by expectation maximisation: (C,) float64.

    From posteriors to shares and back: ``p_ic ∝ e^{g_ic} t_c``, ``t_c ← (Σ_i p_ic + m_c) / (N + Σ m)`` (Saerens, Latinne
    and Decaestecker, Neural Computation 2002; with m = 0 it is theirs). The likelihood is concave in t, so there is one
    optimum. It is as good as the logits are calibrated (Alexandari, Kundaje and Shrikumar, ICML 2020).

    - ``logits`` (N, C): calibrated and free of any prior, as `adjust` gives them for a uniform target; −inf for a class
      that cannot occur, whose share is 0.
    - ``pseudo`` (C,): m ≥ 0, images in favour of each class that are added to the inputs: a Dirichlet prior of shares,
      which keeps few inputs from making one class certain. Default none.
    - ``weights`` (B, N): how often each input counts in B replicates; then the shares are (B, C).
    - ``start`` (C,): shares to start from; one that is 0 stays 0 where ``pseudo`` is 0. Default uniform.

    Raises `TailwiseError` where there is no input, or an input whose logits are NaN or all −inf.
    """
    if not len(logits):
        raise TailwiseError("prior: no input to estimate it from; give at least one image that can be read")
    top = logits.double().amax(1, keepdim=True)
    if not bool(top.isfinite().all()):
        raise TailwiseError("prior: some logits are not finite; estimate it from a model that has not diverged")
    likelihood = (logits.double() - top).exp()  # (N, C)
    possible = (logits > -torch.inf).any(0).double()
    added = torch.zeros_like(possible) if pseudo is None else pseudo.double() * possible
    shares = (possible if start is None else start.double())[:, None].repeat(1, 1 if weights is None else len(weights))
    shares /= shares.sum(0)
    counted = torch.ones(len(logits), 1).double() if weights is None else weights.double().T  # (N, B)
    for _ in range(STEPS):
        before = shares
        shares = shares * (likelihood.T @ (counted / (likelihood @ shares))) + added[:, None]
        shares = shares / shares.sum(0)
        if float((shares - before).abs().max()) < tolerance:
            break
    return shares[:, 0] if weights is None else shares.T


def bbse(predictions: Tensor, labels: Tensor, observed: Tensor, ridge: float = RIDGE, weights: Tensor | None = None) -> Tensor:
    """The class shares that explain how often each class is predicted (black-box shift estimation): (C,) float64.

    With K_jc = P(predicted j | class c) from held-out samples, and q_j the share of inputs predicted as j, q = K t.
    Lipton, Wang and Smola (ICML 2018) invert it; here t minimises ``‖K t − q‖² + ridge ‖t − 1/C‖²`` over shares t ≥ 0 that
    sum to 1, by accelerated projected gradients, so that classes that K tells badly apart do not get wild shares. It
    needs no calibration, only predictions. K has one more sample in each class, predicted right: what is known of a class
    without held-out samples. No (C, C) matrix is made: the products cost V + C.

    - ``predictions``, ``labels`` (V,) int64 of the held-out samples; how frequent their classes are does not matter.
    - ``observed`` (C,) or (B, C): how often each class is predicted for the inputs, as counts or shares.
    - ``weights`` (B, V): how often each held-out sample counts in B replicates; then the shares are (B, C).

    Raises `TailwiseError` where nothing was predicted.
    """
    if not float(observed.sum()):
        raise TailwiseError("prior: no input to estimate it from; give at least one image that can be read")
    classes = observed.shape[-1]
    counted = torch.ones(1, len(labels)).double() if weights is None else weights.double()  # (B, V)
    replicates = len(counted)
    seen = observed.double().reshape(-1, classes).expand(replicates, classes)
    seen = seen / seen.sum(1, keepdim=True)
    to, of = predictions.expand(replicates, -1), labels.expand(replicates, -1)
    per_class = torch.ones(replicates, classes).double().scatter_add_(1, of, counted)  # one is right anyway
    counted = counted / per_class.gather(1, of)  # the entries of K

    def confuse(shares: Tensor) -> Tensor:  # K t
        return (shares / per_class).scatter_add(1, to, counted * shares.gather(1, of))

    def blame(rest: Tensor) -> Tensor:  # Kᵀ r
        return (rest / per_class).scatter_add(1, of, counted * rest.gather(1, to))

    norm = confuse(torch.ones_like(seen)).amax(1, keepdim=True)  # ‖K‖² ≤ its largest row sum, as its columns sum to 1
    shares = ahead = torch.full_like(seen, 1 / classes)
    pace = 1.0
    for _ in range(STEPS):
        before, last = shares, pace
        slope = blame(confuse(ahead) - seen) + ridge * (ahead - 1 / classes)
        shares = on_simplex(ahead - slope / (norm + ridge))
        pace = (1 + (1 + 4 * last**2) ** 0.5) / 2
        ahead = shares + (last - 1) / pace * (shares - before)
        if float((shares - before).abs().max()) < TOLERANCE / 10:  # momentum may slow down before it ends
            break
    return shares[0] if weights is None else shares


def on_simplex(rows: Tensor) -> Tensor:
    """The nearest shares (B, C) to rows (B, C): each max(x − θ, 0), with θ such that it sums to 1 (Duchi et al., ICML 2008)."""
    ordered = rows.sort(1, descending=True).values
    excess = (ordered.cumsum(1) - 1) / torch.arange(1, rows.shape[1] + 1, device=rows.device)
    last = (ordered > excess).sum(1, keepdim=True) - 1
    return (rows - excess.gather(1, last)).clamp(min=0)


def resamples(n: int, replicates: int, seed: int) -> Tensor:
    """(B, n) float64: how often each of n things is drawn in n draws with replacement, a function of the seed."""
    draws = torch.randint(n, (replicates, n), generator=torch.Generator().manual_seed(seed))
    return torch.zeros(replicates, n).double().scatter_add_(1, draws, torch.ones(1).double().expand_as(draws))


def interval(replicates: Tensor, level: float = 0.95) -> tuple[Tensor, Tensor]:
    """Lower and upper ends (C,) of the percentile interval of bootstrap replicates (B, C) (Efron, 1979)."""
    low, high = replicates.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2]).to(replicates), dim=0)
    return low, high
