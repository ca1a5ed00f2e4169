"""What every objective does with what it is given: mistakes get one line that names it, other types simply work."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from contract.subjects import OBJECTIVES, arguments, assert_trained, build, loss_of, some_batch
from tiny import MODELS, batch
from torch import Tensor, nn

from tailwise.losses import Balanced, Contrastive, Objective, objective
from tailwise.task import Task
from tailwise.types import IGNORE, Batch, Output, TailwiseError

every_objective = pytest.mark.parametrize("cls", OBJECTIVES, ids=lambda cls: cls.__name__)
COUNTS, LABELS = [40, 20, 6, 2], torch.tensor([0, 1, 2, 3, 0, IGNORE])


def relabelled(change: Callable[[Tensor], Any]) -> Callable[[Batch], Any]:
    return lambda given: given._replace(labels=change(given.labels))


def one_wrong(label: int) -> Callable[[Batch], Any]:
    return relabelled(lambda labels: labels.masked_fill(labels == 3, label))


BATCHES: dict[str, tuple[Callable[[Batch], Any], str]] = {
    "a tuple": (tuple, "given a tuple; give tailwise.Batch"),
    "a list": (relabelled(Tensor.tolist), r"labels of type list; give a tensor, torch.as_tensor\(labels\)"),
    "no key": (lambda given: given._replace(key=None), "key of type NoneType"),
    "on another device": (relabelled(lambda labels: labels.to("meta")), "labels on meta, views on cpu; move the whole batch"),
    "floats": (relabelled(Tensor.float), r"labels \(6,\) of float32; give class numbers, labels.long\(\)"),
    "a column": (relabelled(lambda labels: labels[:, None]), r"labels \(6, 1\) of int64; .*labels\[:, 0\]"),
    "one-hot": (
        relabelled(lambda labels: nn.functional.one_hot(labels.clamp(min=0), 4)),
        r"labels \(6, 4\).*labels.argmax\(1\)",
    ),
    "no number": (relabelled(lambda labels: labels[0]), r"labels \(\) of int64; give class numbers \(B,\)"),
    "other targets": (relabelled(lambda labels: torch.rand(len(labels), 3)), r"targets"),
    "too large": (one_wrong(9), r"label 9 is outside 0\.\.3; a sample without a label has IGNORE \(-100\)"),
    "minus one": (one_wrong(-1), r"label -1 is outside 0\.\.3"),
    "no axis of views": (
        lambda given: given._replace(views=given.views[0]),
        r"views \(6, 5\) do not fit 6 labels; give \(V, B, ...\)",
    ),
    "other samples": (lambda given: given._replace(views=given.views[:, 1:]), r"views \(\d, 5, 5\) do not fit 6 labels"),
    "index of others": (
        lambda given: given._replace(index=given.index[1:]),
        r"index \(5,\) of int64; give an integer for each of 6",
    ),
    "a key of floats": (lambda given: given._replace(key=given.key.float()), r"key \(6,\) of float32; give an integer"),
}


def refused(message: str, cls: type[Objective], call: Callable[..., Any], *given: Any) -> None:
    with pytest.raises(TailwiseError, match=f"^{cls.__name__}: .*{message}") as error:
        call(*given)
    assert "\n" not in str(error.value)


@every_objective
def test_a_wrong_batch_is_refused(cls: type[Objective]) -> None:
    task, given = build(cls, counts=COUNTS), batch("rows", cls.views, LABELS)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    out = task.model(given.views[list(cls.student_views)])
    for spoil, message in BATCHES.values():
        refused(message, cls, task, spoil(given))
        refused(message, cls, task.objective, out, spoil(given))
    torch.testing.assert_close(task.state_dict(), before, rtol=0, atol=0)


@every_objective
def test_too_few_views_are_refused(cls: type[Objective]) -> None:
    task = build(cls, counts=COUNTS)
    for views in range(cls.views):
        message = rf"needs {cls.views} views of each sample \(V, B, ...\), got {views}"
        refused(message, cls, task, batch("rows", views, LABELS))


@every_objective
def test_targets_are_taken_or_refused(cls: type[Objective]) -> None:
    task, given = build(cls, counts=COUNTS), batch("rows", cls.views, torch.rand(6, 4).softmax(1))
    if cls.mixed:
        assert bool(loss_of(task, given).isfinite())
    else:
        refused(r"takes one class per sample, not \(B, C\) targets; switch mixing off", cls, task, given)


OUTPUTS: dict[str, tuple[Callable[[Output], Any], str]] = {
    "a tensor": (lambda out: out.logits, "the model returned a Tensor; return tailwise.Output"),
    "a tuple": (lambda out: (out.logits, out.features), "the model returned a tuple"),
    "no features": (lambda out: Output(out.logits, None, out.classifier), "features are of type NoneType; return a tensor"),
    "a transposed classifier": (
        lambda out: Output(out.logits, out.features, out.classifier.T),
        r"classifier \(6, 4\); return its rows \(C, D\) = \(4, 6\)",
    ),
    "other features": (
        lambda out: Output(out.logits, out.features[..., 1:], out.classifier),
        r"features \(\d, 6, 5\); return .* 6\)",
    ),
    "no features of a view": (
        lambda out: Output(out.logits, out.features[1:], out.classifier),
        r"features \(\d, 6, 6\); return \(\d",
    ),
    "other classes": (
        lambda out: Output(out.logits[..., 1:], out.features, out.classifier),
        r"logits \(\d, 6, 3\) fit neither",
    ),
    "other samples": (lambda out: Output(out.logits[:, 1:], out.features, out.classifier), r"logits .* for labels S = \(6,\)"),
    "no axis of views": (lambda out: Output(out.logits[0], out.features, out.classifier), r"logits \(6, 4\) fit neither"),
}


@every_objective
def test_a_wrong_output_is_refused(cls: type[Objective]) -> None:
    task, given = build(cls, counts=COUNTS), batch("rows", cls.views, LABELS)
    out = task.model(given.views[list(cls.student_views)])
    for spoil, message in OUTPUTS.values():
        task.model.forward = lambda _, spoil=spoil: spoil(out)  # type: ignore[method-assign]
        refused(message, cls, task, given)


@every_objective
def test_a_wrong_model_is_refused(cls: type[Objective]) -> None:
    needs = r"has no dim; .*takes a module with dim and classes that returns a tailwise.Output"
    refused(f"the model, a Linear, {needs}", cls, cls, COUNTS, nn.Linear(5, 4))
    refused(f"the model, a int, {needs}", cls, cls, COUNTS, 4)
    refused("the model, a list, has no dim", cls, cls, MODELS["rows"](4), COUNTS)
    advice = r"a label vector is counted by counts.from_labels\(labels, 4\)"
    refused("no class has a training sample", cls, cls, [0, 0, 0, 0], MODELS["rows"](4))
    refused(f"6 class counts for a model of 4 classes; {advice}", cls, cls, [0, 1, 2, 3, 0, 0], MODELS["rows"](4))


@every_objective
def test_an_unknown_option_is_refused(cls: type[Objective]) -> None:
    model = MODELS["rows"](4)
    with pytest.raises(TailwiseError, match=f"^{cls.__name__}: no option 'zzz'; it has"):
        cls(COUNTS, model, zzz=1)
    for option in arguments(cls) & {"temperature", "tau", "queue_size", "momentum", "gamma"} & set(signature(cls)):
        with pytest.raises(
            TailwiseError, match=f"^{cls.__name__}: no option '{option[:-2] + option[-1]}'; did you mean {option}"
        ):
            cls(COUNTS, model, **{option[:-2] + option[-1]: 1})


def signature(cls: type[Objective]) -> dict[str, inspect.Parameter]:
    return dict(list(inspect.signature(cls).parameters.items())[2:])


@every_objective
def test_every_option_is_named(cls: type[Objective]) -> None:
    assert not any(p.kind is p.VAR_KEYWORD for p in signature(cls).values())


@pytest.mark.parametrize("cls", [cls for cls in OBJECTIVES if issubclass(cls, Contrastive)], ids=lambda cls: cls.__name__)
def test_every_option_is_handed_on(cls: type[Objective]) -> None:
    """Frames take options of classes by their names: none is mistaken for another."""
    options: dict[str, Any] = {"pixels": Balanced(7)}
    for at, (name, option) in enumerate(signature(cls).items()):
        if name != "pixels":
            options[name] = 0.3 + at / 100 if isinstance(option.default, float) else 60 + at
    objective = build(cls, **options).objective
    for name in signature(cls).keys() & {
        "temperature",
        "tau",
        "classifier_weight",
        "contrast_weight",
        "width",
        "hidden",
        "pixels",
    }:
        assert getattr(objective, name) == options[name], name
    for name in signature(cls).keys() & {"alpha", "beta", "gamma", "supt", "smoothing", "positives", "scale", "target_weight"}:
        assert getattr(objective, name, options[name]) == options[name], name
    if "momentum" in options:
        assert objective.teacher.momentum == options["momentum"]
        assert len(objective.queue.rows) == options["queue_size"]


@every_objective
def test_integers_of_any_width_are_labels(cls: type[Objective]) -> None:
    labels = torch.tensor([0, 1, 2, 3, 0])  # eight bits without a sign have no IGNORE
    given, tasks = batch("rows", cls.views, labels), [build(cls) for _ in range(3)]
    expected = tasks[0](given)
    for task, dtype in zip(tasks[1:], (torch.int32, torch.uint8), strict=True):
        narrow = given._replace(labels=labels.to(dtype), index=given.index.to(dtype))
        assert {value.dtype for value in task.objective.admit(narrow)[1:]} == {torch.int64}
        terms = task(narrow)
        torch.testing.assert_close(terms, expected, rtol=0, atol=0)
        torch.testing.assert_close(task.state_dict(), tasks[0].state_dict(), rtol=0, atol=0)


@every_objective
def test_a_task_may_be_of_half_precision(cls: type[Objective]) -> None:
    task = build(cls).to(torch.bfloat16)
    for epoch in range(2):
        task.on_epoch(epoch, 2)
        given = some_batch(cls, seed=epoch)
        loss = loss_of(task, given._replace(views=given.views.bfloat16()))
        task.zero_grad()
        loss.backward()
        task.on_step()
        assert bool(loss.isfinite())
        assert_trained(task)


@every_objective
def test_a_batch_as_it_should_be_is_not_copied(cls: type[Objective]) -> None:
    given = batch("rows", cls.views, LABELS)
    assert build(cls).objective.admit(given) is given


def test_values_are_looked_at_once_where_it_takes_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device other than the CPU: the first batch, and none after it."""

    class Quiet(Objective):
        def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
            return {"cls": out.logits.sum()}

    looked: list[str] = []
    monkeypatch.setattr(objective, "check_labels", lambda labels, *_: looked.append(labels.device.type))
    for device, times in (("meta", 1), ("cpu", 3)):
        model = MODELS["rows"](4)
        task = Task(model, Quiet(COUNTS, model)).to(device)
        for _ in range(3):
            task(Batch(*(value.to(device) for value in batch("rows", 1, LABELS))))
        assert looked == [device] * times
        looked.clear()
