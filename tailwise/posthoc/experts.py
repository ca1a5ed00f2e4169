"""Test-time aggregation of several experts (SADE: Zhang et al., NeurIPS 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise import rng
from tailwise.types import TailwiseError

EPOCHS, BATCH, LEAST = 5, 128, 0.05
"""Passes over the images, images per step, and the weight below which it stops: of the published test-time recipes."""


def aggregate(view_a: Tensor, view_b: Tensor) -> Tensor:
    """TRANSDUCTIVE. Weights (E,) of the experts, fitted to the unlabelled TEST images.

    Every figure made with these weights must say so: they have seen the images that they are judged on, if not the
    labels, and other test images give other weights.

    - ``view_a``, ``view_b`` (E, N, C): logits of E experts on two random augmentations of the same N images.

    Maximises the mean of cos(p_a, p_b), with p = softmax(Σ_e w_e f_e) and w a softmax: an expert that is right about an
    image is assumed to be stable under augmentation. Optimiser and settings are the published ones for CIFAR-100: five
    epochs of SGD (0.1, Nesterov momentum 0.9, weight decay 5e-4) in batches of 128, from equal weights, ended by the
    first epoch after which a weight is below 0.05. The order of the images is fixed, so equal input gives equal weights.

    Raises `TailwiseError` for views of unequal or other shape, no image, and logits that are not finite.
    """
    if view_a.ndim != 3 or view_a.shape != view_b.shape or view_a.numel() == 0:
        shapes = f"{tuple(view_a.shape)} and {tuple(view_b.shape)}"
        raise TailwiseError(f"aggregate: logits {shapes}; give the same (experts, images, classes) for both views")
    if not bool(view_a.isfinite().all() and view_b.isfinite().all()):
        raise TailwiseError("aggregate: some logits are not finite; the experts diverged, take an earlier checkpoint")
    experts, images, _ = view_a.shape
    raw = torch.full((experts,), 1 / experts, dtype=torch.float64, device=view_a.device, requires_grad=True)
    optimizer = torch.optim.SGD([raw], lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for epoch in range(EPOCHS):
        for rows in torch.split(rng.permutation(images, epoch).to(view_a.device), BATCH):
            with torch.enable_grad():
                similarity = agreement(raw.softmax(0), view_a[:, rows].double(), view_b[:, rows].double())
                (gradient,) = torch.autograd.grad(-similarity, raw)
            raw.grad = gradient
            optimizer.step()
        if float(raw.detach().softmax(0).min()) < LEAST:
            break
    return raw.detach().softmax(0).to(view_a.dtype)


def agreement(weights: Tensor, view_a: Tensor, view_b: Tensor) -> Tensor:
    """Mean over the images of cos(p_a, p_b), a scalar in [0, 1]; weights (E,), views (E, N, C)."""
    p_a, p_b = (torch.einsum("e,enc->nc", weights, view).softmax(-1) for view in (view_a, view_b))
    return F.cosine_similarity(p_a, p_b, dim=-1).mean()
