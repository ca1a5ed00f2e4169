"""What an objective is given, looked at once where it comes in: a model, a batch, and what the model says of it.

Shapes, types and devices cost nothing to look at. The values of labels do on a GPU, which has to be waited for: the CPU
looks at those of every batch, a GPU at those of the first, and later ones are left to its own assertions.
"""

from typing import Any

from torch import Tensor

from tailwise.types import IGNORE, Batch, Output, TailwiseError


def check_model(model: Any, name: str) -> None:
    """Refuse what cannot be a `tailwise.types.Model`."""
    if missing := [attribute for attribute in ("dim", "classes") if not hasattr(model, attribute)]:
        raise TailwiseError(
            f"{name}: the model, a {type(model).__name__}, has no {missing[0]}; "
            f"{name}(counts, model) takes a module with dim and classes that returns a tailwise.Output"
        )


def admit(batch: Batch, name: str, views: int, classes: int, mixed: bool) -> Batch:
    """The batch, its integers as int64, once type, device and shape of all four are right. Waits for nothing."""
    if not isinstance(batch, Batch):
        raise TailwiseError(f"{name}: given a {type(batch).__name__}; give tailwise.Batch(views, labels, index, key)")
    for what, value in zip(batch._fields, batch, strict=True):
        if not isinstance(value, Tensor):
            raise TailwiseError(f"{name}: {what} of type {type(value).__name__}; give a tensor, torch.as_tensor({what})")
        if value.device != batch.views.device:
            raise TailwiseError(f"{name}: {what} on {value.device}, views on {batch.views.device}; move the whole batch")
    labels, shape = _labels(batch.labels, name, classes, mixed), tuple(batch.views.shape)
    if len(shape) < 3 or shape[1] != len(labels):
        raise TailwiseError(f"{name}: views {shape} do not fit {len(labels)} labels; give (V, B, ...) with V = {views}")
    if shape[0] < views:
        raise TailwiseError(f"{name}: needs {views} views of each sample (V, B, ...), got {shape[0]}; augment it {views} times")
    whole = []
    for what, value in (("index", batch.index), ("key", batch.key)):
        if value.shape != labels.shape[:1] or value.is_floating_point():
            raise TailwiseError(f"{name}: {what} {_said(value)}; give an integer for each of {len(labels)} samples (B,)")
        whole.append(value.long())  # itself, where it is int64
    if labels is batch.labels and whole[0] is batch.index and whole[1] is batch.key:
        return batch
    return Batch(batch.views, labels, *whole)


def _labels(labels: Tensor, name: str, classes: int, mixed: bool) -> Tensor:
    """Labels as int64, or targets (B, C) as they are."""
    if labels.ndim == 2 and labels.shape[1] == 1 < classes:
        raise TailwiseError(f"{name}: labels {_said(labels)}; give class numbers (B,), labels[:, 0].long()")
    if labels.ndim == 2 and labels.is_floating_point():
        if not mixed:
            raise TailwiseError(
                f"{name}: takes one class per sample, not (B, C) targets; switch mixing off, or use labels (B,)"
            )
        if labels.shape[1] != classes:
            raise TailwiseError(f"{name}: targets {_said(labels)} for {classes} classes; give (B, {classes})")
        return labels
    if labels.ndim == 2:
        or_targets = ", or targets (B, C) as floats, labels.float()" if mixed else ""
        raise TailwiseError(
            f"{name}: labels {_said(labels)}; give class numbers (B,), of one-hot ones labels.argmax(1){or_targets}"
        )
    if labels.ndim not in (1, 3):
        raise TailwiseError(f"{name}: labels {_said(labels)}; give class numbers (B,) or (B, H, W)")
    if labels.is_floating_point() or labels.is_complex():
        raise TailwiseError(f"{name}: labels {_said(labels)}; give class numbers, labels.long()")
    return labels.long()


def check_labels(labels: Tensor, name: str, classes: int) -> None:
    """Refuse labels other than 0..C-1 and IGNORE. Waits for the device."""
    if labels.is_floating_point() or not labels.numel():
        return
    low, high = (int(value) for value in labels.aminmax())
    if low == IGNORE:
        low = int(labels.where(labels != IGNORE, 0).min())
    if low < 0 or high >= classes:
        bad = low if low < 0 else high
        raise TailwiseError(f"{name}: label {bad} is outside 0..{classes - 1}; a sample without a label has IGNORE ({IGNORE})")


def check_output(out: Output, batch: Batch, name: str, views: int, classes: int, dim: int) -> None:
    """Refuse what does not fit the batch or the model's own ``classes`` and ``dim``. Waits for nothing."""
    if not isinstance(out, Output):
        kind = type(out).__name__
        raise TailwiseError(f"{name}: the model returned a {kind}; return tailwise.Output(logits, features, classifier)")
    for what in ("logits", "features", "classifier"):
        if not isinstance(value := getattr(out, what), Tensor):
            raise TailwiseError(f"{name}: the model's {what} are of type {type(value).__name__}; return a tensor")
    logits, features, rows = tuple(out.logits.shape), tuple(out.features.shape), tuple(out.classifier.shape)
    labels = batch.labels.shape[:1] if batch.labels.is_floating_point() else batch.labels.shape
    if len(logits) < 3 or logits[-1] != classes or out.axes != labels:
        wants = f"return (V, *S, {classes}) for labels S = {tuple(labels)}"
        raise TailwiseError(f"{name}: the model's logits {logits} fit neither labels nor classes; {wants}")
    if len(features) < 3 or features[0] < views or features[1] != logits[1] or features[-1] != dim:
        raise TailwiseError(f"{name}: the model's features {features}; return ({views}, B, ..., {dim}), as its dim says")
    if rows != (classes, dim):
        raise TailwiseError(
            f"{name}: the model's classifier {rows}; return its rows (C, D) = ({classes}, {dim}), as nn.Linear has"
        )


def _said(value: Tensor) -> str:
    return f"{tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
