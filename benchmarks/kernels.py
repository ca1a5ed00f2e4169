"""The contrast of GML and of BCL: ours, the published computation, and three matrix products, in the same process."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.dense import dense_bcl, dense_mixture, dense_weights, floor
from benchmarks.measure import Row, peak_mib, seconds, warm_allocator
from benchmarks.problem import MixtureProblem, mixture_problem
from tailwise.counts import count_labels
from tailwise.kernels import class_lse
from tailwise.losses.bcl import balanced_contrastive
from tailwise.losses.mixture import gaussian_mixture

CASES = ((128, 4096, 100, 32), (128, 16384, 1000, 128), (128, 16384, 8142, 1024), (1024, 262144, 8142, 128))
"""Queries, keys, classes, width."""
DENSE = 1 << 24
"""Above so many scores the published computation is not tried: at 2²⁸ its masks and one-hot matrices need 20 GiB."""


def step(loss: Callable[..., Any], given: MixtureProblem) -> Callable[[], tuple[Tensor, ...]]:
    """Forward and backward of both terms; returns loss and gradients to queries, keys and temperature."""
    trained = [given.queries, given.keys, given.log_temperature]

    def once() -> tuple[Tensor, ...]:
        contrast, temperature = loss(*given)
        total = contrast.mean() + temperature.nan_to_num(0.0).mean()  # the published one is 0/0 for a lone key
        return (total.detach(), *torch.autograd.grad(total, trained))

    return once


def check(given: MixtureProblem) -> None:
    """Raise unless ours and the published computation agree in value and gradients."""
    ours, dense = step(gaussian_mixture, given)(), step(dense_mixture, given)()
    torch.testing.assert_close(ours[:3], dense[:3], rtol=2e-4, atol=2e-6)


def narrow(given: MixtureProblem) -> Callable[[], object]:
    """Forward and backward of the log-sum-exps on bf16 queries and keys."""
    queries, keys = (x.detach().bfloat16().requires_grad_() for x in (given.queries, given.keys))
    bias, temperature = torch.zeros(len(keys), device=keys.device), given.log_temperature.detach().exp()

    def once() -> object:
        lse = class_lse(queries, keys, bias, temperature, given.labels, given.key_labels, given.index, given.key_index)
        return torch.autograd.grad(torch.logaddexp(lse.others, lse.own_class()).mean(), [queries, keys])

    return once


def mixture_row(case: tuple[int, int, int, int], device: str = "cpu") -> Row:
    """One line of the table of GML's contrast: times in ms, ratios, and memory beyond inputs and gradients."""
    queries, keys, classes, width = case
    if queries * keys <= DENSE:
        check(mixture_problem(queries, keys, min(classes, 50), min(width, 64), device))
    warm_allocator()
    given = mixture_problem(*case, device)
    weights = torch.randn(queries, keys, device=device)
    q, k = given.queries.detach(), given.keys.detach()
    contestants = {"ours": step(gaussian_mixture, given), "floor": lambda: floor(q, k, weights)}
    took = seconds(contestants)
    if queries * keys <= DENSE:
        took |= seconds({"dense": step(dense_mixture, given)}, repeats=7, warm_up=1)
    b, c, w = (x.bfloat16() for x in (q, k, weights))
    took |= seconds({"bf16": narrow(given), "bf16 floor": lambda: floor(b, c, w)})
    gradients = (q.numel() + k.numel()) * 4 / 2**20
    ms = {f"{name} ms": round(1e3 * value, 2) for name, value in took.items()}
    return {
        "B, K, C, d": ", ".join(map(str, case)),
        **ms,
        "dense / ours": round(took["dense"] / took["ours"], 1) if "dense" in took else "n/a",
        "ours / floor": round(took["ours"] / took["floor"], 2),
        "bf16 / its floor": round(took["bf16"] / took["bf16 floor"], 2),
        "extra MiB": round(peak_mib(step(gaussian_mixture, given)) - gradients, 1),
        "a (B, K) MiB": queries * keys * 4 / 2**20,
    }


def bcl_row(batch: int = 256, classes: int = 8142, width: int = 128, device: str = "cpu") -> Row:
    """BCL whole, forward and backward, and its weights alone, against the published computation."""
    made = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (batch,), generator=made).repeat(2).to(device)
    rows = [F.normalize(torch.randn(n, width, generator=made), dim=1).to(device) for n in (2 * batch, classes)]
    anchors, prototypes = (x.requires_grad_() for x in rows)
    position = torch.arange(2 * batch, device=device)

    def ours() -> tuple[Tensor, ...]:
        loss = balanced_contrastive(anchors, labels, anchors, labels, position, prototypes, 0.1).mean()
        return (loss.detach(), *torch.autograd.grad(loss, [anchors, prototypes]))

    def dense() -> tuple[Tensor, ...]:
        loss = dense_bcl(anchors, labels, prototypes, 0.1)
        return (loss.detach(), *torch.autograd.grad(loss, [anchors, prototypes]))

    torch.testing.assert_close(ours(), dense(), rtol=1e-4, atol=1e-7)
    columns = torch.cat([labels, torch.arange(classes, device=device)])
    same = (labels[:, None] == columns).float()
    whole = seconds({"ours": ours, "dense": dense}, warm_up=1)
    weights = seconds(
        {
            "ours": lambda: -(count_labels(labels, classes) + 1).float().log(),
            "dense": lambda: dense_weights(labels, columns, same),
        },
        warm_up=1,
    )
    return {
        "B, C, d": f"{batch}, {classes}, {width}",
        "ours ms": round(1e3 * whole["ours"], 2),
        "dense ms": round(1e3 * whole["dense"], 2),
        "dense / ours": round(whole["dense"] / whole["ours"], 1),
        "weights dense / ours": round(weights["dense"] / weights["ours"]),
    }


def measure(device: str = "cpu") -> dict[str, list[Row]]:
    """Both tables."""
    return {
        "GML's contrast, forward and backward of both branches": [mixture_row(case, device) for case in CASES],
        "BCL, forward and backward": [bcl_row(device=device), bcl_row(classes=100, device=device)],
    }


if __name__ == "__main__":
    for title, rows in measure().items():
        print(title, *rows, sep="\n")
