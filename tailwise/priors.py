"""Adjustment of deployed logits from the prior they carry to the prior they should meet."""

import torch
from torch import Tensor

from tailwise.types import TailwiseError


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
