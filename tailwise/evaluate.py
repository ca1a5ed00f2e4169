"""Judging a model: collect its logits on labelled batches, turn them into the result block of a run."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tailwise import counts as class_counts
from tailwise import metrics, priors
from tailwise.types import IGNORE, Batch, TailwiseError

UNIFORM = 1e-6
"""A log prior whose largest and smallest entries are closer than this is uniform: it moves no prediction."""


def collect(model: nn.Module, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Logits (N, *S, C) float32 of the first view and labels (N, *S) of all batches, on the CPU.

    The model (see `tailwise.types.Model`) runs in eval mode and without a graph, on the device of its parameters. Each
    of its modules gets its mode back, also when a batch fails. Raises `TailwiseError` when there is no batch.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in model.modules()]
    logits, labels = [], []
    model.eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                out = model(batch.views[:1].to(device))
                logits.append(out.logits[0].float().cpu())
                labels.append(batch.labels.cpu())
    finally:
        for module, training in modes:  # one by one: a frozen part stays in eval inside a model in training
            module.training = training
    if not logits:
        raise TailwiseError("evaluate: no batch to judge; the split is empty")
    return torch.cat(logits), torch.cat(labels)  # outside inference mode, so that they are ordinary tensors


def _check(logits: Tensor, labels: Tensor, counts: Tensor, names: list[str]) -> None:
    """Refuse what would give a wrong figure."""
    classes = logits.shape[-1]
    if labels.is_floating_point() or labels.shape != logits.shape[:-1]:
        raise TailwiseError(
            f"judge: logits {tuple(logits.shape)} need whole-number labels {tuple(logits.shape[:-1])}, "
            f"got {tuple(labels.shape)} {labels.dtype}"
        )
    for what, length in (("training counts", counts.numel()), ("class names", len(names))):
        if length != classes:
            raise TailwiseError(f"judge: {length} {what} for {classes} classes; give one per class")
    if not bool((labels != IGNORE).any()):
        raise TailwiseError("judge: no labelled test sample; give a split with labels")
    if bool(logits.isnan().any()):
        raise TailwiseError("judge: some logits are not a number; the model diverged, judge an earlier checkpoint")


def _gap(train: Tensor, test: Tensor, counts: Tensor) -> dict[str, float | None]:
    """Mean over a group of each class's train minus test recall (C,), over classes that occur in both."""
    groups = {"all": torch.ones_like(counts, dtype=torch.bool), **class_counts.shot_groups(counts)}
    return {name: metrics.group_mean(train - test, mask) for name, mask in groups.items()}


def _worst(summary: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {"name": names[summary["worst"]["class"]], "recall": summary["worst"]["recall"]}


def _post_hoc(
    logits: Tensor, labels: Tensor, counts: Tensor, names: list[str], carried: Tensor | None
) -> dict[str, Any] | None:
    """The main figures after `priors.adjust` to a uniform target; None when the logits carry no prior to take away."""
    if carried is None or float(carried.max() - carried.min()) < UNIFORM:
        return None
    adjusted = priors.adjust(logits, carried, absent=class_counts.absent(counts))
    summary = metrics.summary(metrics.confusion(adjusted.argmax(-1), labels, counts.numel()), counts)
    return {key: summary[key] for key in ("overall", "balanced", "many", "medium", "few")} | {"worst": _worst(summary, names)}


def judge(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor,
    names: list[str],
    carried_log_prior: Tensor | None = None,
    train_confusion: Tensor | None = None,
) -> dict[str, Any]:
    """The result block of a run: every figure of `metrics.summary` and more, as plain JSON values.

    - ``logits`` (N, C) as deployed, ``labels`` (N,) int64, IGNORE left out; pixel axes after N are allowed.
    - ``counts`` (C,): training samples per class, which define the groups. ``names``: the C class names.
    - ``carried_log_prior`` (C,): what the deployed logits still carry; gives ``post_hoc``, the figures after adjustment
      to a uniform target, where a class without training samples is never predicted. All else is plain argmax.
    - ``train_confusion`` (C, C): of the training set, measured in eval mode; gives ``gap``, train minus test recall.

    Shares lie in [0, 1] and gaps in [-1, 1]. What is undefined is None, never NaN and never 0. Raises `TailwiseError`
    for shapes that do not fit, labels outside the classes, logits that are not a number, and no label at all.
    """
    _check(logits, labels, counts, names)
    classes = counts.numel()
    logits, labels = logits.reshape(-1, classes), labels.reshape(-1)
    matrix = metrics.confusion(logits.argmax(-1), labels, classes)
    summary = metrics.summary(matrix, counts)
    probabilities = logits.double().softmax(-1)
    columns = zip(names, counts.tolist(), matrix.sum(1).tolist(), summary["recall"], summary["precision"], strict=True)
    if train_confusion is not None and train_confusion.shape != matrix.shape:
        raise TailwiseError(
            f"judge: train confusion {tuple(train_confusion.shape)} for {classes} classes; give one row for each"
        )
    return {
        "n_test": int(matrix.sum()),
        **{key: value for key, value in summary.items() if key not in ("recall", "precision", "worst")},
        "per_class": [
            {"name": name, "train": train, "test": test, "recall": recall, "precision": precision}
            for name, train, test, recall, precision in columns
        ],
        "worst": _worst(summary, names),
        "ece": {
            "all": metrics.ece(probabilities, labels),
            **metrics.ece_by_group(probabilities, labels, counts),
        },
        "top5": metrics.top_k_accuracy(logits, labels, 5),
        "gap": None if train_confusion is None else _gap(metrics.recalls(train_confusion), metrics.recalls(matrix), counts),
        "post_hoc": _post_hoc(logits, labels, counts, names, carried_log_prior),
    }
