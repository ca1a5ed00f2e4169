"""Large inputs: work grows with samples plus classes, never with their product. Elements are counted, not seconds."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import Rows
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tailwise import counts, metrics
from tailwise.data import hold_out, long_tailed, open_source
from tailwise.data import longtail as of_longtail
from tailwise.losses import GML, LogitAdjusted
from tailwise.queue import ClassQueue
from tailwise.rng import permutation
from tailwise.types import Batch

ROWS, CLASSES = 100_000, 10_000


class Calls(TorchFunctionMode):
    """Counts calls of torch's functions."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


class Largest(TorchDispatchMode):
    """Remembers the most elements that a tensor has which an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else (made,):
            if isinstance(one, torch.Tensor):
                self.elements = max(self.elements, one.untyped_storage().nbytes() // one.element_size())
        return made


class Numpy:
    """NumPy, counting the elements that go into its functions."""

    def __init__(self) -> None:
        self.elements = 0

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function

        def call(*args: Any, **kwargs: Any) -> Any:
            self.elements += sum(one.size for one in args if isinstance(one, np.ndarray))
            return function(*args, **kwargs)

        return call


def test_holding_out_looks_at_the_labels_a_few_times_whatever_the_classes() -> None:
    with Calls() as calls:
        kept, held = hold_out(torch.arange(ROWS) % CLASSES, 0.2, seed=0)
    assert calls.number < 200
    assert len(kept) + len(held) == ROWS
    assert held.remainder(CLASSES).bincount().eq(2).all()


def test_a_long_tail_looks_at_the_labels_a_few_times_whatever_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Numpy()
    monkeypatch.setattr(of_longtail, "np", counted)
    chosen = long_tailed(torch.arange(ROWS) % CLASSES, 1 + torch.arange(CLASSES) % 10)
    assert counted.elements < 10 * ROWS
    assert torch.equal(chosen.remainder(CLASSES).bincount(), 1 + torch.arange(CLASSES) % 10)


def test_what_is_held_out_of_a_class_is_the_start_of_its_own_permutation() -> None:
    """The split of an older run stays what it was."""
    labels = torch.tensor([2, 0, 2, 2, 0, 0, 2, 0, 2, 5, 5])
    own = {c: (labels == c).nonzero()[:, 0] for c in (0, 2, 5)}
    first = [own[c][permutation(len(own[c]), 3, c)[:n]] for c, n in ((0, 2), (2, 2), (5, 1))]
    assert torch.equal(hold_out(labels, 0.4, seed=3)[1], torch.cat(first).sort().values)


def many() -> dict[str, Callable[[], Any]]:
    """Jobs over many samples and classes."""
    labels = torch.arange(ROWS) % CLASSES
    guess, sure, given = labels.roll(1), torch.rand(ROWS).double(), 1 + torch.arange(CLASSES) % 150

    def figures() -> None:
        metrics.summary(metrics.tally(guess, labels, CLASSES), given)
        metrics.ece_by_group(sure, guess, labels, given)

    def queue() -> None:
        ring = ClassQueue(counts.allocate(given, 4 * CLASSES, 2), 1)
        for _ in range(3):
            ring.push(torch.ones(CLASSES, 1), torch.arange(CLASSES), torch.arange(CLASSES))
        ring.read()

    return {"figures": figures, "queue": queue}


@pytest.mark.parametrize("job", many())
def test_no_tensor_has_samples_times_classes_elements(job: str) -> None:
    run = many()[job]
    with Largest() as largest:
        run()
    assert largest.elements <= 4 * (ROWS + CLASSES)


@pytest.mark.parametrize("cls", [LogitAdjusted, GML])
def test_no_tensor_of_a_step_has_classes_squared_elements(cls: Any) -> None:
    model, index = Rows(CLASSES), torch.arange(8)
    objective = cls(1 + torch.arange(CLASSES) % 150, model)
    if cls is GML:
        keys = objective.queue.labels
        objective.queue.push(torch.randn(len(keys), model.dim), keys, torch.arange(len(keys)))
    batch = Batch(torch.randn(objective.views, 8, 5), index * 1000, index, index)
    with Largest() as largest:
        out = model(batch.views[list(objective.student_views)])
        torch.stack(list(objective(out, batch).values())).sum().backward()
    assert largest.elements <= 8 * 8 * 2 * CLASSES  # 8 samples, or as many numbers, against two keys of each class


def test_a_listing_takes_some_kilobytes_a_row(tmp_path: Path) -> None:
    rows = 2000
    for i in range(rows):
        (tmp_path / f"{i}.ppm").write_bytes(b"P6 8 8 255\n" + i.to_bytes(8, "little") * 24)
    listing = tmp_path / "listing.csv"
    listing.write_text("path,label\n" + "".join(f"{i}.ppm,{i % 200}\n" for i in range(rows)))
    open_source(listing)  # what is imported on the way
    tracemalloc.start()
    source = open_source(listing)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(source.splits["train"].labels) == rows
    assert peak < 4096 * rows
