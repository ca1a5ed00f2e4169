"""Every `Objective` that `tailwise.losses` defines, and how the contract builds and judges one."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import torch
from tiny import MAPS, MODELS, batch
from torch import Tensor, nn

import tailwise.losses
from tailwise.losses import Objective
from tailwise.task import Task
from tailwise.types import IGNORE, Batch

for _module in pkgutil.walk_packages(tailwise.losses.__path__, "tailwise.losses."):
    importlib.import_module(_module.name)


def subclasses(cls: type[Objective]) -> Iterator[type[Objective]]:
    for sub in cls.__subclasses__():
        if sub.__module__.startswith("tailwise."):
            yield sub
        yield from subclasses(sub)


OBJECTIVES = sorted((cls for cls in set(subclasses(Objective)) if not inspect.isabstract(cls)), key=lambda cls: cls.__name__)
COUNTS = [60, 12, 3, 1]


def arguments(cls: type[Objective]) -> set[str]:
    """Names of the options that the class and its bases take."""
    return {name for base in cls.__mro__ if "__init__" in vars(base) for name in inspect.signature(base.__init__).parameters}


def build(cls: type[Objective], kind: str = "rows", counts: list[int] = COUNTS, **options: Any) -> Task:
    torch.manual_seed(0)
    model = MODELS[kind](len(counts))
    return Task(model, cls(counts, model, **options))


def loss_of(task: nn.Module, given: Batch) -> Tensor:
    terms = task(given)
    assert all(term.ndim == 0 for term in terms.values())
    return torch.stack(list(terms.values())).sum()


def assert_trained(task: Task) -> None:
    """Every parameter has a gradient, and it is finite."""
    for name, p in task.named_parameters():
        if p.requires_grad:
            assert p.grad is not None, name
            assert bool(p.grad.isfinite().all()), name


def some_batch(cls: type[Objective], kind: str = "rows", seed: int = 0) -> Batch:
    shape = (6, 8, 8) if kind in MAPS else (6,)
    labels = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(seed))
    labels[1] = IGNORE
    return batch(kind, cls.views, labels, seed, 6 * seed)
