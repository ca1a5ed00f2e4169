"""Losses of many rows in chunks: the values and gradients of one call, without its copies of the logits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tailwise.losses import (
    class_balanced,
    cross_entropy,
    distillation,
    focal,
    label_temperature,
    ldam,
    logit_adjusted,
    logit_margin,
    rows,
    vector_scaling,
)

ROWS, CLASSES = 23, 5
COUNTS = torch.tensor([60, 12, 3, 1, 0])
PRIOR = (COUNTS + 1).double().log_softmax(0)
CASES: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...], dict[str, Any]]] = {
    "cross_entropy": (cross_entropy, (), {}),
    "logit_adjusted": (logit_adjusted, (PRIOR,), {"tau": 0.5}),
    "ldam": (ldam, (PRIOR.exp(),), {"scale": 3.0}),
    "vector_scaling": (vector_scaling, (PRIOR, COUNTS), {"tau": 1.2, "gamma": 0.3}),
    "focal": (focal, (0.5,), {}),
    "logit_margin": (logit_margin, (), {"margins": PRIOR - PRIOR[:, None]}),
    "class_balanced": (class_balanced, (PRIOR.exp(),), {}),
    "distillation": (distillation, (), {"temperature": 2.0}),
    "label_temperature": (label_temperature, (COUNTS, 0.3), {}),
}


def evaluate(name: str, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The values of a case and the gradient of a weighted sum of them."""
    loss, constants, named = CASES[name]
    logits = logits.detach().requires_grad_()
    values = loss(logits, beside(name), *constants, **named)
    values.backward((1 + torch.arange(len(logits))).to(values.dtype).sin())
    assert logits.grad is not None
    return values.detach(), logits.grad


def beside(name: str) -> Tensor:
    """What else has an entry for each row: labels, or a teacher's logits."""
    return some_logits(torch.float32).flip(0) if name == "distillation" else torch.arange(ROWS) % CLASSES


def some_logits(dtype: torch.dtype = torch.float64) -> Tensor:
    return (3 * torch.randn(ROWS, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).to(dtype)


@pytest.mark.parametrize("limit", [1, 12, 5 * ROWS - 1])  # one row, two rows, all but one
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_equals_one_call(name: str, dtype: torch.dtype, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = evaluate(name, some_logits(dtype))
    monkeypatch.setattr(rows, "LIMIT", limit)
    chunked = evaluate(name, some_logits(dtype))
    assert torch.finfo(chunked[0].dtype).bits >= 32
    assert chunked[1].dtype == dtype
    for mine, theirs in zip(chunked, plain, strict=True):
        assert mine.dtype == theirs.dtype
        torch.testing.assert_close(mine, theirs, rtol=1e-14 if dtype == torch.float64 else 1e-6, atol=1e-14)


class Sizes(TorchDispatchMode):
    """Numbers of elements of all that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and not func.is_view:
            self.seen.append(made.numel())
        return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_nothing_but_the_gradient_is_as_large_as_the_logits(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = some_logits(dtype).requires_grad_()
    loss, constants, named = CASES[name]
    monkeypatch.setattr(rows, "LIMIT", 4 * CLASSES)
    small = max(4 * CLASSES, ROWS, CLASSES * CLASSES)
    labels = beside(name)
    with Sizes() as forward:
        total = loss(logits, labels, *constants, **named).sum()
    assert max(forward.seen) <= small
    with Sizes() as backward:
        total.backward()
    assert sum(size > small for size in backward.seen) == 1


def test_few_rows_are_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(rows._Chunked, "apply", refuse)
    evaluate("focal", some_logits())
    monkeypatch.setattr(rows, "LIMIT", ROWS * CLASSES)
    evaluate("focal", some_logits())
    monkeypatch.setattr(rows, "LIMIT", ROWS * CLASSES - 1)
    with pytest.raises(AssertionError):
        evaluate("focal", some_logits())


def test_target_distributions_go_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = some_logits(), some_logits().flip(0).softmax(1)
    plain = cross_entropy(logits, targets)
    monkeypatch.setattr(rows, "LIMIT", 12)
    torch.testing.assert_close(cross_entropy(logits, targets), plain, rtol=1e-14, atol=0)


def test_other_gradients_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LIMIT", 12)
    logits, prior = some_logits().requires_grad_(), PRIOR.clone().requires_grad_()
    logit_adjusted(logits, torch.arange(ROWS) % CLASSES, prior).sum().backward()
    assert prior.grad is not None
    torch.testing.assert_close(prior.grad, logits.grad.sum(0))  # type: ignore[union-attr]


def test_without_a_gradient_there_is_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LIMIT", 12)
    labels = torch.arange(ROWS) % CLASSES
    assert not focal(some_logits(), labels, 1.0).requires_grad
    with torch.no_grad():
        assert not focal(some_logits().requires_grad_(), labels, 1.0).requires_grad


def test_a_gradient_of_the_gradient_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LIMIT", 12)
    logits = some_logits().requires_grad_()
    values = cross_entropy(logits, torch.arange(ROWS) % CLASSES)
    (slope,) = torch.autograd.grad(values.square().sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()
