"""One table of inputs that break losses: what a batch holds, what its numbers are, in which precision they come.

`outcome` runs an objective through a few steps on one cell of the table. There is nothing between a loss and gradients that are
finite, and a refusal by name before the step: anything else raises `Broken`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tailwise import rng
from tailwise.losses import Objective
from tailwise.task import Task
from tailwise.train.terms import Terms
from tailwise.types import IGNORE, Batch, DenseOutput, Output, TailwiseError

SIDE = 4


class Broken(AssertionError):
    """A number that is not finite."""


class Given(nn.Module):
    """A model that says what it is shown: views (V, B, …, D + C) are features and logits, of rows or of the cells of a map."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.dim, self.classes = dim, classes
        self.rows = nn.Parameter(torch.randn(classes, dim))

    def forward(self, views: Tensor) -> Output:
        features, logits = views.split([self.dim, self.classes], dim=-1)
        if views.ndim == 3:
            return Output(logits, features, self.rows)
        return DenseOutput(logits, features, self.rows, size=(SIDE, SIDE))


class Precision(NamedTuple):
    """How numbers come: features and logits in one type, heads in another, with or without autocast."""

    given: torch.dtype
    heads: torch.dtype = torch.float32
    autocast: bool = False
    scale: float = 2.0**16  # what the loss is multiplied by before its backward pass, as a gradient scaler does

    def context(self, device: str = "cpu") -> AbstractContextManager[Any]:
        return torch.autocast(device, dtype=self.given) if self.autocast else nullcontext()


PRECISIONS = {
    "fp64": Precision(torch.float64, torch.float64),
    "fp32": Precision(torch.float32),
    "bf16": Precision(torch.bfloat16),
    "bf16 autocast": Precision(torch.bfloat16, autocast=True),
    "bf16 heads": Precision(torch.bfloat16, torch.bfloat16),
    "fp16": Precision(torch.float16, scale=1.0),  # a slope above 65504 is infinite: a gradient scaler looks for that
    "fp16 autocast": Precision(torch.float16, autocast=True, scale=1.0),
    "fp16 heads": Precision(torch.float16, torch.float16, scale=1.0),
}

COUNTS = [60, 12, 3, 1]
BATCHES: dict[str, tuple[list[int], list[int]]] = {
    "usual": (COUNTS, [0, 1, 2, 3, 0, IGNORE]),
    "classes absent": (COUNTS, [0, 0, 0, 0]),
    "one image of a class": (COUNTS, [0, 0, 0, 3]),
    "one image of each": (COUNTS, [0, 1, 2, 3]),
    "nobody labelled": (COUNTS, [IGNORE] * 4),
    "one labelled": (COUNTS, [IGNORE, 2, IGNORE, IGNORE]),
    "B = 1": (COUNTS, [1]),
    "B = 1, unlabelled": (COUNTS, [IGNORE]),
    "C = 1": ([7], [0, 0, 0]),
    "C = 1, B = 1": ([7], [0]),
    "C = 2": ([10**9, 1], [0, 0, 1]),
    "counts 0 to 1e9": ([10**9, 0, 1, 0], [0, 1, 2, 3]),
    "counts of 1e9": ([10**9] * 3, [0, 1, 2, 2]),
    "one rare class": ([10**9] * 30 + [1], [30, 0, 7, 30]),
}
"""Class counts and labels of a batch, in words."""
MANY = {"C = 1,000": 1_000, "C = 100,000": 100_000}
"""Batches of so many classes, see `many`."""


def many(classes: int) -> tuple[list[int], list[int]]:
    """As in `BATCHES`: counts that fall from 10⁹ to nothing over the classes, labels at both ends."""
    return [int(1e9 * 0.5 ** (40 * c / classes)) for c in range(classes)], [0, 1, classes - 1, classes // 2, IGNORE]


def _antipodal(x: Tensor) -> Tensor:
    x = x[:, :1].expand_as(x).clone()
    x[:, 1::2] *= -1
    return x


VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda x: x,
    "±1e4": lambda x: 1e4 * x.sign(),
    "all 1e4": lambda x: torch.full_like(x, 1e4),
    "one row of 1e4": lambda x: x * torch.tensor([1.0] * (x.shape[1] - 1) + [1e4]).to(x).view(1, -1, *[1] * (x.ndim - 2)),
    "zeros": torch.zeros_like,
    "zeros in one row": lambda x: x * (torch.arange(x.shape[1]) > 0).to(x).view(1, -1, *[1] * (x.ndim - 2)),
    "1e-6": lambda x: 1e-6 * x,
    "1e-30": lambda x: 1e-30 * x,
    "all rows equal": lambda x: x[:1, :1].expand_as(x),
    "duplicate rows": lambda x: x[:, torch.arange(x.shape[1]) // 2],
    "duplicate views": lambda x: x[:1].expand_as(x),
    "antipodal rows": _antipodal,
    "antipodal views": lambda x: x[:1] * torch.tensor([1.0, -1.0] * 2).to(x)[: len(x)].view(-1, *[1] * (x.ndim - 1)),
    "one axis": lambda x: x * (torch.arange(x.shape[-1]) == 0),
}
"""From normal deviates (V, B, …, D + C) to what a model might say in a bad hour."""


def batch_of(labels: Tensor, views: int, width: int, values: str, seed: int, given: torch.dtype, device: str = "cpu") -> Batch:
    """Labels (B,) or (B, SIDE, SIDE) with views (V, B, …, width) that ask for a gradient."""
    generator = torch.Generator().manual_seed(seed)
    x = VALUES[values](torch.randn(views, *labels.shape, width, generator=generator, dtype=torch.float64))
    index = torch.arange(len(labels))
    whole = (value.to(device) for value in (labels, index, rng.mix(seed, index)))
    return Batch(x.to(device, given).requires_grad_(), *whole)


def mapped(labels: list[int]) -> Tensor:
    """Maps (B, SIDE, SIDE), one for each label: most of it of that class, a pixel of the next one, some of none."""
    maps = torch.tensor(labels).view(-1, 1, 1).repeat(1, SIDE, SIDE)
    maps[:, 0, 0] = torch.tensor(labels).roll(1)
    maps[:, -1] = IGNORE
    return maps


Forward = Callable[[Batch], dict[str, Tensor]]
FINITE, SCALED = "finite", "finite, scaled"
"""All is; or it is once the loss is scaled down, as a gradient scaler does it where a slope is above 65504, float16's end."""
STEPS = False, True, True, False
"""Which steps train: none with a full queue, two that fill it, the second with the same samples again, one that only reads."""


class Cell(NamedTuple):
    """One case: an objective and what it is given."""

    cls: type[Objective]
    kind: str  # rows or pixels
    counts: list[int]
    labels: list[int]
    values: str  # of `VALUES`
    precision: Precision
    options: Mapping[str, Any] = {}
    dim: int = 6
    seed: int = 0
    device: str = "cpu"


def outcome(cell: Cell, steps: Sequence[bool] = STEPS, made: Callable[[Task], Forward] = lambda task: task) -> str:
    """`FINITE`, `SCALED`, or the one line that refused it. Raises `Broken` with a number that is not finite.

    ``made`` says what is called in the place of the task, such as torch.compile.
    """
    cls, precision, classes = cell.cls, cell.precision, len(cell.counts)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if precision.heads == torch.float64 else torch.float32)
    torch.manual_seed(cell.seed)
    least = 1.0
    try:
        model = Given(classes, cell.dim)
        task = Task(model, cls(cell.counts, model, **cell.options)).to(cell.device, precision.heads)
        forward, labels = made(task), mapped(cell.labels) if cell.kind == "pixels" else torch.tensor(cell.labels)
        for step, training in enumerate(steps):
            task.train(training)
            task.on_epoch(step, len(steps))
            seed = cell.seed + (step + 1) // 2
            batch = batch_of(labels, cls.views, cell.dim + classes, cell.values, seed, precision.given, cell.device)
            with precision.context(cell.device):
                terms = forward(batch)
            check(terms, f"step {step}: term")
            least = min(least, _backward(task, batch, torch.stack(list(terms.values())).sum(), precision, f"step {step}"))
            task.on_step()
        check(dict(task.named_buffers()), "state")
    except TailwiseError as error:
        return str(error)
    finally:
        torch.set_default_dtype(before)
    return FINITE if least >= 1 else SCALED


def _backward(task: Task, batch: Batch, loss: Tensor, precision: Precision, where: str) -> float:
    """The first scale of the loss at which all gradients are finite: that of the precision, for float16 also lower ones."""
    short = precision.given == torch.float16
    for scale in (precision.scale, *(2.0**-turn for turn in (16, 32, 48) if short)):
        task.zero_grad()
        batch.views.grad = None
        (scale * loss).backward(retain_graph=short)
        grads = {name: p.grad for name, p in [*task.named_parameters(), ("features and logits", batch.views)]}
        try:
            check(grads, f"{where}: gradient of")
        except Broken as error:
            reason = error
        else:
            return scale
    raise reason


def check(values: Mapping[str, Tensor | None], where: str) -> None:
    given = {name: x for name, x in values.items() if x is not None and x.is_floating_point()}
    if given and not math.isfinite(float(torch.stack([x.detach().double().sum() for x in given.values()]).sum())):
        for name, value in given.items():
            if not bool(value.isfinite().all()):
                raise Broken(f"{where} {name} is {'NaN' if bool(value.isnan().any()) else 'infinite'}")


def carried(cls: type[Objective], counts: list[int], options: Mapping[str, Any] | None = None) -> str:
    """As `outcome`, of the prior that the objective states, in either epoch of two."""
    try:
        objective = cls(counts, Given(len(counts), 6), **(options or {}))
        for epoch in range(2):
            objective.on_epoch(epoch, 2)
            check({"carried log prior": objective.carried_log_prior}, "the")
    except TailwiseError as error:
        return str(error)
    return "finite"


def poisoned(cls: type[Objective], value: float, kind: str = "rows") -> str:
    """What becomes of one row of NaN or infinity: `Terms` names the step, or it takes no part and all gradients are finite.

    Raises `Broken` where a gradient is not finite and no term tells.
    """
    torch.manual_seed(0)
    model = Given(len(COUNTS), 6)
    task, labels = Task(model, cls(COUNTS, model)), [0, 1, 2, 3, 0, IGNORE]
    batch = batch_of(mapped(labels) if kind == "pixels" else torch.tensor(labels), cls.views, 10, "normal", 0, torch.float32)
    batch.views.data[:, 1] = value
    try:
        loss = Terms(every=1).add(task(batch), "step 0")
    except TailwiseError as error:
        return str(error)
    loss.backward()
    check({name: p.grad for name, p in task.named_parameters()}, "no term tells, and the gradient of")
    return "finite"
