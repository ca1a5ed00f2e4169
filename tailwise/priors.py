"""Class shares of the data that a model meets: logits moved to a target prior, and that prior estimated without labels.

N inputs without labels, V held-out samples with labels, C classes, B replicates.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tailwise.types import TailwiseError

STEPS, TOLERANCE, ROUGH = 1000, 1e-7, 1e-5
"""An iteration ends when no share moves by more than the tolerance (the third, of a replicate), or after so many steps."""

RIDGE = 0.03
"""What `bbse` pays for leaving the uniform prior: little, where the predictions say anything at all."""

FEWEST, MOST = 5.0, 16.0
"""Images that `estimate` adds at least: half a one a class, or so many in all if that is less; and so many a class at most."""

TINY, FARTHEST, AT_ONCE = 1e-300, 1e4, 2**20
"""What stands for 0 in a denominator, the longest stride of an extrapolation, and numbers that are worked on at once."""


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

    Raises `TailwiseError` for priors of another length, a prior that is not finite, and when no class is left.
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
    if not bool((offset < torch.inf).all() and (offset > -torch.inf).any()):  # and none is NaN
        raise TailwiseError("adjust: no class is left to predict, or the target prior is NaN or +inf; -inf is a share of 0")
    return logits + offset.to(logits)


def em(logits: Tensor, pseudo: Tensor | None = None, weights: Tensor | None = None, tolerance: float = TOLERANCE) -> Tensor:
    """The class shares under which inputs without labels are likeliest, by expectation maximisation: (C,) float64.

    From posteriors to shares and back: ``p_ic ∝ e^{g_ic} t_c``, ``t_c ← (Σ_i p_ic + m_c) / (N + Σ m)`` (Saerens, Latinne
    and Decaestecker, Neural Computation 2002; with m = 0 it is theirs). Of every three such steps the first two say how
    far to go ahead before the third (SQUAREM: Varadhan and Roland, Scandinavian Journal of Statistics 2008). The
    likelihood is concave in t, so there is one optimum. It is as good as the logits are calibrated (Alexandari, Kundaje
    and Shrikumar, ICML 2020).

    - ``logits`` (N, C): calibrated and free of any prior, as `adjust` gives them for a uniform target; −inf for a class
      that cannot occur, whose share is 0.
    - ``pseudo`` (C,) or (B, C): m ≥ 0, images in favour of each class that are added to the inputs. Default none.
    - ``weights`` (B, N): how often each input counts in B replicates. With B of either the shares are (B, C).

    Raises `TailwiseError` where there is no input, or an input whose logits are NaN or all −inf.
    """
    likelihood, possible = _likelihood(logits), (logits > -torch.inf).any(0).double()
    added = torch.zeros_like(possible) if pseudo is None else pseudo.to(possible) * possible
    counted = possible.new_ones(1, len(logits)) if weights is None else weights.to(possible)

    def step(shares: Tensor) -> Tensor:
        found = added.expand_as(shares).clone()
        for rows, part in _blocks(likelihood, len(counted)):
            found += shares * ((counted[:, part] / (shares @ rows.T).clamp(min=TINY)) @ rows)
        return found / found.sum(1, keepdim=True)

    shares = (possible / possible.sum()).expand(max(len(counted), added.numel() // len(possible)), -1)
    for _ in range(STEPS):
        once = step(shares)
        twice = step(once)
        pace, bend = once - shares, twice - 2 * once + shares
        stride = (pace.norm(dim=1, keepdim=True) / bend.norm(dim=1, keepdim=True).clamp(min=TINY)).clamp(1, FARTHEST)
        ahead = shares + 2 * stride * pace + stride**2 * bend
        shares = step(torch.where((ahead < 0).any(1, keepdim=True), twice, ahead))
        if float((twice - once).abs().max()) < tolerance:
            break
    return shares[0] if weights is None and added.ndim == 1 else shares


def _likelihood(logits: Tensor) -> Tensor:
    """(N, C) of the type of the logits, up to a factor for each row, on which no share depends."""
    if not len(logits):
        raise TailwiseError("prior: no input to estimate it from; give at least one image that can be read")
    top = logits.amax(1, keepdim=True)
    if not bool(top.isfinite().all()):
        raise TailwiseError("prior: some logits are not finite; estimate it from a model that has not diverged")
    return (logits - top).exp()


def _blocks(likelihood: Tensor, replicates: int = 1) -> Iterator[tuple[Tensor, slice]]:
    """Rows (n, C) in float64 and where they are, in turn."""
    size = max(AT_ONCE // max(likelihood.shape[1], replicates), 1)
    for start in range(0, len(likelihood), size):
        yield likelihood[start : start + size].double(), slice(start, start + size)


def worth(logits: Tensor, held: Tensor) -> float:
    """As how many images, in (0, 1], each of N counts when its logits were calibrated on other samples.

    More images do not help against an error that all of them share. Calibration on V_c samples of class c is taken to be as
    good as ``V = C² / Σ_c 1 / (V_c + 1)`` labelled images, one being what is known without samples, and to matter where the
    class is in doubt: for a share ``u = 1 − mean_i Σ_c p_ic²`` of the images. So N images count as ``1 / (1/N + u/V)``.

    ``logits`` (N, C) as of `em`, all finite; ``held`` (C,): V_c.
    """
    shares = em(logits, torch.full_like(held, _least(len(held)), dtype=torch.float64))
    sure = sum(float((rows * shares / (rows @ shares)[:, None]).square().sum()) for rows, _ in _blocks(_likelihood(logits)))
    return 1 / (1 + (len(logits) - sure) * float((1 / (held.double() + 1)).sum()) / len(held) ** 2)


def estimate(logits: Tensor, around: Tensor, weight: float = 1.0) -> Tensor:
    """The class shares (C,) that inputs without labels speak for, near one of M guesses as far as they do not speak against.

    By `em` with m images added in the shares b of a guess. Which guess, and how many, the inputs say: images a class go by
    doublings from ``min(1/2, FEWEST / C)`` to `MOST`, and the estimates are averaged in proportion to the evidence for each,
    the probability of the inputs if shares were drawn from a Dirichlet distribution with parameters m. By Laplace's
    approximation in log t, with the curvature class by class and L_i the likelihood of input i,
    ``log E = w Σ_i log L_i − Σ_c m_c log(b_c / t_c) − ½ Σ_c log(1 + w Σ_i p_ic² / m_c) + ½ log(1 + w N / Σ_c m_c)``. As m is
    limited, the estimate approaches the truth with N, whatever the guesses.

    ``logits`` (N, C) as of `em`, all finite; ``around`` (M, C): the guesses b, above 0; ``weight`` w: see `worth`.
    """
    classes = logits.shape[1]
    sizes = [_least(classes)]
    while sizes[-1] < MOST:  # a class
        sizes.append(min(2 * sizes[-1], MOST))
    guesses = around.double().repeat(len(sizes), 1)  # (B, C)
    added = guesses.new_tensor(sizes).repeat_interleave(len(around))[:, None] * guesses * classes
    shares = em(logits, added / weight)
    curved, evidence = torch.zeros_like(shares), (added * (shares / guesses).log()).sum(1)
    for rows, _ in _blocks(_likelihood(logits)):
        mixed = shares @ rows.T
        curved += weight * shares**2 * (mixed**-2 @ rows**2)
        evidence += weight * mixed.log().sum(1)
    evidence += ((weight * len(logits) / added.sum(1)).log1p() - (curved / added).log1p().sum(1)) / 2
    return evidence.softmax(0) @ shares


def replicates(logits: Tensor, weight: float, number: int, seed: int) -> Tensor:
    """Class shares (B, C) that scatter as those of inputs without labels are uncertain, for `interval`; a function of the seed.

    A weighted likelihood bootstrap (Newton and Raftery, JRSS B 1994): each is an `em` in which weights of inputs and added
    images come from gamma distributions of means ``weight`` and ``min(1/2, FEWEST / C)``. Where logits leave no doubt they are
    draws from the posterior of a Dirichlet prior (Jeffreys' for 1/2). Arguments as of `estimate`.
    """
    draw = np.random.default_rng(seed)
    weights = draw.standard_gamma(weight, (number, len(logits)))
    pseudo = draw.standard_gamma(_least(logits.shape[1]), (number, logits.shape[1]))
    return em(logits, torch.from_numpy(pseudo), torch.from_numpy(weights), ROUGH)


def _least(classes: int) -> float:  # images that are added to each class
    return min(0.5, FEWEST / classes)


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
    counted = labels.new_ones(1, len(labels)).double() if weights is None else weights.to(labels.device).double()  # (B, V)
    replicates = len(counted)
    seen = observed.double().reshape(-1, classes).expand(replicates, classes)
    seen = seen / seen.sum(1, keepdim=True)
    to, of = predictions.expand(replicates, -1), labels.expand(replicates, -1)
    per_class = counted.new_ones(replicates, classes).scatter_add_(1, of, counted)  # one is right anyway
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
        if float((shares - before).abs().max()) < TOLERANCE:  # momentum may slow down before it ends
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


def interval(replicates: Tensor, size: float, level: float = 0.95) -> tuple[Tensor, Tensor]:
    """Lower and upper ends (C,) of the percentile interval of replicates (B, C) (Efron, 1979) from so many images.

    The upper end is not below the exact one for a class that none of ``size`` images shows, ``1 − α^(1/size)`` with
    α = (1 − level) / 2; a lower end below that for a class that one of them shows, ``1 − (1 − α)^(1/size)``, is 0 (Clopper and
    Pearson, 1934).
    """
    tail = (1 - level) / 2
    low, high = replicates.quantile(replicates.new_tensor([tail, 1 - tail]), dim=0)
    return low.where(low >= 1 - (1 - tail) ** (1 / size), 0), high.clamp(min=1 - tail ** (1 / size))
