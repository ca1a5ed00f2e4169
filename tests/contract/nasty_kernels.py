"""The table of `contract.nasty` for what is no objective: kernels, distributions, priors, calibration, tables of counts."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from contract.nasty import VALUES, check
from torch import Tensor

from tailwise import calibrate, counts, priors
from tailwise.kernels import class_lse, front
from tailwise.kernels.bessel import log_scaled_bessel
from tailwise.losses.elm import rarity_weights
from tailwise.losses.gcl import cloud_sizes
from tailwise.losses.heads import unit
from tailwise.losses.ldam import ldam_margins
from tailwise.losses.ride import class_temperature
from tailwise.losses.vmf import log_expectation, natural_parameters, start_means
from tailwise.losses.vs import temperatures
from tailwise.moments import ClassMeans
from tailwise.posthoc.drops import drops
from tailwise.types import IGNORE, TailwiseError


class Question(NamedTuple):
    """What a kernel is asked."""

    counts: list[int]
    labels: list[int]
    values: str
    dtype: torch.dtype
    temperature: float = 0.1
    width: int = 4
    seed: int = 0

    def rows(self, n: int, width: int, turn: int = 0) -> Tensor:
        """(n, width), with a gradient."""
        generator = torch.Generator().manual_seed(self.seed + turn)
        x = torch.randn(1, n, width, generator=generator, dtype=torch.float64)
        return VALUES[self.values](x)[0].to(self.dtype).clone().requires_grad_()

    def classes(self) -> Tensor:
        return torch.tensor(self.labels).clamp(min=0)


Answer = dict[str, Tensor]


def _backward(outputs: Answer, **leaves: Tensor) -> Answer:
    """Outputs, and the gradients of their sum; of float16 scaled down where they are above its largest number."""
    total = torch.stack([x.double().sum() for x in outputs.values()]).sum()
    short = any(x.dtype == torch.float16 for x in leaves.values())
    for scale in (1.0, 2.0**-16, 2.0**-32) if short else (1.0,):
        grads = torch.autograd.grad(scale * total, list(leaves.values()), retain_graph=True)
        if all(bool(x.isfinite().all()) for x in grads):
            break
    return outputs | {f"gradient of {name}": x for name, x in zip(leaves, grads, strict=True)}


def _lse(asked: Question, small: int) -> Answer:
    labels = torch.tensor(asked.labels)
    n, k = len(labels), 2 * len(labels) + 3
    queries, keys = asked.rows(n, asked.width), asked.rows(k, asked.width, 1)
    key_labels = torch.cat([labels, labels, torch.tensor([0, IGNORE, len(asked.counts) - 1])])
    log_prior = counts.log_prior(asked.counts).float()
    bias = log_prior[key_labels.clamp(min=0)].masked_fill(key_labels < 0, -torch.inf).requires_grad_()
    temperature = torch.tensor(asked.temperature, requires_grad=True) if asked.seed % 2 else asked.temperature
    before, front.SMALL = front.SMALL, small
    try:
        lse = class_lse(queries, keys, bias, temperature, labels, key_labels, torch.arange(n), torch.arange(k) % (n + 1))
    finally:
        front.SMALL = before
    # as the losses use them: a set without keys counts for nothing
    every = torch.logaddexp(lse.others, lse.own_class())
    leaves = {"queries": queries, "keys": keys, "bias": bias}
    if isinstance(temperature, Tensor):
        leaves["temperature"] = temperature
    return _backward({"every": every / n}, **leaves) | lse._asdict()


def _bessel(asked: Question) -> Answer:
    square = asked.rows(3, 2).detach().abs().requires_grad_()
    order = (-0.5, 0.0, 2.5, 31.0, 500.0)[(asked.seed + len(asked.labels)) % 5]
    return _backward({"log S": log_scaled_bessel(order, square)}, square=square)


def _vmf(asked: Question) -> Answer:
    rows, labels = asked.rows(len(asked.labels), asked.width), torch.tensor(asked.labels)
    z = unit(rows.float() if asked.dtype.itemsize == 2 else rows)
    means = ClassMeans(start_means(len(asked.counts), asked.width))
    for epoch in range(3):
        means.push(z.detach(), labels)
        means.turn(epoch)
    natural = natural_parameters(means.read())
    short = natural_parameters(means.read().float())
    ratio = log_expectation(z, natural, asked.temperature) / len(labels)
    return _backward({"ratio": ratio}, rows=rows) | {"natural": natural, "means": means.read(), "in float32": short}


def _adjust(asked: Question) -> Answer:
    logits = asked.rows(len(asked.labels), len(asked.counts))
    given = counts.log_prior(asked.counts)
    moved = priors.adjust(logits, given, given.flip(0)), priors.adjust(logits, -given)
    absent = priors.adjust(logits, given, absent=counts.absent(asked.counts)).softmax(-1)
    return _backward({"adjusted": moved[0], "twice": moved[1]}, logits=logits) | {"absent": absent}


def _shares(asked: Question) -> Answer:
    logits, classes = asked.rows(12, len(asked.counts)).detach(), len(asked.counts)
    shares = priors.em(logits)
    around = torch.full((1, classes), 1 / classes)
    held = torch.tensor(asked.counts).clamp(max=100)
    weight = torch.tensor(priors.worth(logits, held))
    predictions = logits.argmax(1)
    found = priors.bbse(predictions, predictions.roll(1), predictions.bincount(minlength=classes))
    return {"em": shares, "near": priors.estimate(logits, around, float(weight)), "worth": weight, "bbse": found}


def _calibrated(asked: Question) -> Answer:
    logits, labels = asked.rows(len(asked.labels) * 3, len(asked.counts)).detach(), asked.classes().repeat(3)
    made, _ = calibrate.choose(logits, labels)
    vector = calibrate.vector(logits, labels, calibrate.log_shares(labels, len(asked.counts)).clamp(min=-700))
    return {"chosen": made(logits), "scale": made.scale, "bias": made.bias, "by vector": vector(logits)}


def _drops(asked: Question) -> Answer:
    log_prior = counts.log_prior(asked.counts)
    flat = torch.zeros_like(log_prior).log_softmax(0)
    logits = asked.rows(len(asked.labels), len(asked.counts)).detach().double()
    return {"log g": drops(logits, asked.classes(), log_prior, flat).log_g}


def _tables(asked: Question) -> Answer:
    given, share = torch.tensor(asked.counts), min(asked.temperature, 0.999999)
    prior = counts.log_prior(given)
    return {
        "log prior": prior,
        "effective number": counts.effective_number(given, share),
        "rarity": rarity_weights(given, asked.temperature),
        "clouds": cloud_sizes(given),
        "margins": ldam_margins(given, 0.5),
        "of experts": 1 / class_temperature(prior.to(asked.dtype).float(), share),
        "temperatures": temperatures(given, min(asked.temperature, 10.0)),
    }


KERNELS: dict[str, Callable[[Question], Answer]] = {
    "class_lse, reference": lambda asked: _lse(asked, 1 << 13),
    "class_lse, streaming": lambda asked: _lse(asked, -1),
    "bessel": _bessel,
    "von Mises-Fisher": _vmf,
    "adjust": _adjust,
    "shares without labels": _shares,
    "calibration": _calibrated,
    "DROPS": _drops,
    "tables of counts": _tables,
}


def answered(name: str, asked: Question) -> str:
    """``finite``, or the one line that refused it. Raises `Broken` with what is not finite."""
    try:
        check(KERNELS[name](asked), name)
    except TailwiseError as error:
        return str(error)
    return "finite"
