"""Judging a model: what it says about labelled batches, and the result block of a run that follows from it.

Of every sample only a few numbers are kept, `Answers`; its C logits are gone with its batch. Memory grows with the
samples plus the classes, time with their product where the logits are read, and neither grows faster anywhere.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from tailwise import counts as class_counts
from tailwise import metrics, priors
from tailwise.types import IGNORE, Batch, TailwiseError

UNIFORM = 1e-6
"""A log prior whose largest and smallest entries are closer than this is uniform: it moves no prediction."""

AT_ONCE = 2**22
"""Logits that are read at once: what reading needs beside them stays within 0.1 GB, however many come in one piece."""

T = TypeVar("T")


class Answers(NamedTuple):
    """What judging keeps of N samples."""

    labels: Tensor  # (N,) int64, IGNORE allowed
    predictions: Tensor  # (N,) int64 argmax of the deployed logits
    confidence: Tensor  # (N,) float64 its softmax
    ranks: Tensor  # (N,) int64 how many classes come before the true one
    adjusted: Tensor | None = None  # (N,) int64 argmax after a shift of the logits, if there was one
    shipped: Tensor | None = None  # (N,) int64 what users are told, if that was asked for: see `Shipped`
    sure: Tensor | None = None  # (N,) float64 the probability that they are told with it


Shipped = Callable[[Tensor], Tensor]
"""From deployed logits (n, C) to the log probabilities that users get: calibrated, under the prior that is meant."""


def correction(carried_log_prior: Tensor | None, counts: Tensor) -> Tensor | None:
    """(C,) float64, what `priors.adjust` adds to logits for a uniform target; None when they carry no prior to take away.

    It is −inf for a class without training samples.
    """
    if carried_log_prior is None or float(carried_log_prior.max() - carried_log_prior.min()) < UNIFORM:
        return None
    return priors.adjust(torch.zeros(counts.numel()).double(), carried_log_prior, absent=class_counts.absent(counts))


def read(logits: Tensor, labels: Tensor, shift: Tensor | None = None, shipped: Shipped | None = None) -> Answers:
    """The answers of logits (N, *S, C) to labels (N, *S), on the logits' device and without waiting for it."""
    classes = logits.shape[-1]
    rows = max(AT_ONCE // classes, 1)
    pieces, own = torch.split(logits.reshape(-1, classes), rows), torch.split(labels.to(logits.device).reshape(-1), rows)
    return _joined(_read(piece, truth, shift, shipped) for piece, truth in zip(pieces, own, strict=True))


def _read(logits: Tensor, labels: Tensor, shift: Tensor | None, shipped: Shipped | None) -> Answers:
    predictions = logits.argmax(-1)
    wide = logits.double()
    confidence = (wide.gather(1, predictions[:, None])[:, 0] - wide.logsumexp(-1)).exp()
    adjusted = None if shift is None else (logits + shift.to(logits)).argmax(-1)
    answers = Answers(labels, predictions, confidence, metrics.ranks(logits, labels), adjusted)
    if shipped is None:
        return answers
    best, found = shipped(logits).max(-1)
    return answers._replace(shipped=found, sure=best.exp())


def _joined(parts: Iterable[Answers]) -> Answers:
    return Answers._make(None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True))


def _over(model: nn.Module, batches: Iterable[Batch], of: Callable[[Tensor, Tensor], T]) -> list[T]:
    """``of(logits, labels)`` of each batch: the first view's logits (B, *S, C) in float32, on the model's device."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            found = [of(model(b.views[:1].to(device, non_blocking=True)).at_labels().float(), b.labels) for b in batches]
    finally:
        for module, training in modes:  # one by one: a frozen part stays in eval inside a model in training
            module.training = training
    if not found:
        raise TailwiseError("evaluate: no batch to judge; the split is empty")
    return found


def collect(model: nn.Module, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Logits (N, *S, C) float32 of the first view and labels (N, *S) of all batches, on the CPU.

    The model (see `tailwise.types.Model`) runs in eval mode and without a graph, on the device of its parameters. Each
    of its modules gets its mode back, also when a batch fails. Raises `TailwiseError` when there is no batch. For what
    needs the logits themselves; `observe` and `predictions` do without N × C numbers.
    """
    logits, labels = zip(*_over(model, batches, lambda logits, labels: (logits.cpu(), labels.cpu())), strict=True)
    return torch.cat(logits), torch.cat(labels)  # outside inference mode, so that they are ordinary tensors


def observe(model: nn.Module, batches: Iterable[Batch], shift: Tensor | None = None, shipped: Shipped | None = None) -> Answers:
    """The model's answers to all batches, on the CPU; run as by `collect`. ``shift`` (C,): see `correction`."""
    answers = _joined(_over(model, batches, lambda logits, labels: read(logits, labels, shift, shipped)))
    return Answers._make(None if column is None else column.cpu() for column in answers)


def predictions(model: nn.Module, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Predicted classes and labels (N, *S) of all batches, on the CPU; run as by `collect`."""
    found, labels = zip(*_over(model, batches, lambda logits, labels: (logits.argmax(-1), labels)), strict=True)
    return torch.cat(found).cpu(), torch.cat(labels).cpu()


def _gap(train: Tensor, test: Tensor, counts: Tensor) -> dict[str, float | None]:
    """Mean over a group of each class's train minus test recall (C,), over classes that occur in both."""
    groups = {"all": torch.ones_like(counts, dtype=torch.bool), **class_counts.shot_groups(counts)}
    return {name: metrics.group_mean(train - test, mask) for name, mask in groups.items()}


def _worst(summary: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {"name": names[summary["worst"]["class"]], "recall": summary["worst"]["recall"]}


def _post_hoc(answers: Answers, counts: Tensor, names: Sequence[str]) -> dict[str, Any] | None:
    """The main figures after the shift, if there was one."""
    return None if answers.adjusted is None else _main(answers.adjusted, answers.labels, counts, names)


def _shipped(answers: Answers, counts: Tensor, names: Sequence[str]) -> dict[str, Any] | None:
    """The main figures of what users are told, and how far its probabilities are right, if it was asked for."""
    if answers.shipped is None or answers.sure is None:
        return None
    of = (answers.sure, answers.shipped, answers.labels)
    return _main(answers.shipped, answers.labels, counts, names) | {
        "ece": {"all": metrics.ece(*of), **metrics.ece_by_group(*of, counts)}
    }


def _main(predictions: Tensor, labels: Tensor, counts: Tensor, names: Sequence[str]) -> dict[str, Any]:
    summary = metrics.summary(metrics.tally(predictions, labels, counts.numel()), counts)
    return {key: summary[key] for key in ("overall", "balanced", "many", "medium", "few")} | {"worst": _worst(summary, names)}


def result(answers: Answers, counts: Tensor, names: Sequence[str], train: Tensor | None = None) -> dict[str, Any]:
    """The result block of a run, from its answers to the test split: `metrics.summary` and more, as plain JSON values.

    - ``counts`` (C,): training samples per class, which define the groups. ``names``: the C class names.
    - ``train`` (3, C): `metrics.tally` of the training set, in eval mode; gives ``gap``, train minus test recall.
    - ``post_hoc`` are the figures of the shifted answers, if they were read with a shift, and ``shipped`` those of what users
      are told, with its calibration error. All else is plain argmax.

    Shares lie in [0, 1] and gaps in [-1, 1]. What is undefined is None, never NaN and never 0. Takes O(N + C). Raises
    `TailwiseError` for lengths that do not fit, labels outside the classes, logits that are not finite, and no label.
    """
    labels, predicted, confidence, ranks, *_ = answers
    if len(names) != counts.numel():
        raise TailwiseError(f"judge: {len(names)} class names for {counts.numel()} classes; give one per class")
    if not bool((labels != IGNORE).any()):
        raise TailwiseError("judge: no labelled test sample; give a split with labels")
    if bool(confidence.isnan().any()):
        raise TailwiseError("judge: some logits are not finite; the model diverged, judge an earlier checkpoint")
    tally = metrics.tally(predicted, labels, counts.numel())
    if train is not None and train.shape != tally.shape:
        raise TailwiseError(f"judge: training tally {tuple(train.shape)} for {counts.numel()} classes; see metrics.tally")
    summary = metrics.summary(tally, counts)
    shares = summary["recall"], summary["precision"]
    columns = zip(names, counts.tolist(), tally[1].tolist(), tally[2].tolist(), *shares, strict=True)
    return {
        "n_test": int(tally[1].sum()),
        **{key: value for key, value in summary.items() if key not in ("recall", "precision", "worst")},
        "per_class": [
            {"name": name, "train": train, "test": test, "predicted": predicted, "recall": recall, "precision": precision}
            for name, train, test, predicted, recall, precision in columns
        ],
        "worst": _worst(summary, names),
        "ece": {
            "all": metrics.ece(confidence, predicted, labels),
            **metrics.ece_by_group(confidence, predicted, labels, counts),
        },
        "top5": metrics.top_k_accuracy(ranks, labels, 5),
        "gap": None if train is None else _gap(metrics.recalls(train), metrics.recalls(tally), counts),
        "post_hoc": _post_hoc(answers, counts, names),
        "shipped": _shipped(answers, counts, names),
    }


def judge(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor,
    names: Sequence[str],
    carried_log_prior: Tensor | None = None,
    train: Tensor | None = None,
) -> dict[str, Any]:
    """`result` for logits that are at hand, (N, *S, C) as deployed, and labels (N, *S) int64, IGNORE left out.

    ``carried_log_prior`` (C,): what the logits still carry; gives ``post_hoc``, the figures after adjustment to a uniform
    target, where a class without training samples is never predicted. Raises `TailwiseError` also for shapes that do
    not fit and labels that are not whole numbers.
    """
    if labels.is_floating_point() or labels.shape != logits.shape[:-1]:
        raise TailwiseError(
            f"judge: logits {tuple(logits.shape)} need whole-number labels {tuple(logits.shape[:-1])}, "
            f"got {tuple(labels.shape)} {labels.dtype}"
        )
    if counts.numel() != logits.shape[-1]:
        raise TailwiseError(f"judge: {counts.numel()} training counts for {logits.shape[-1]} classes; give one per class")
    return result(read(logits, labels, correction(carried_log_prior, counts)), counts, names, train)
