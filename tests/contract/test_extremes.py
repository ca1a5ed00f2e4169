"""Extreme imbalance: no empty class, classes of one image, and objectives that stay finite and learn."""

from pathlib import Path

import pytest
import torch
from contract.subjects import OBJECTIVES, arguments
from tiny import MODELS
from torch import Tensor

from tailwise import rng
from tailwise.counts import imbalance_factor
from tailwise.data import profile
from tailwise.data.source import stacked_source
from tailwise.losses import Objective
from tailwise.task import Task
from tailwise.train import prepare as preparing
from tailwise.train.prepare import prepare
from tailwise.train.recipe import Data
from tailwise.types import Batch

TAILS = [(5000, 10, factor) for factor in (200, 500, 1000, 5000)] + [(500, 200, factor) for factor in (200, 500)]
"""Images of the largest class, classes, nominal factor: those of CIFAR-10 and of Tiny ImageNet."""


@pytest.mark.parametrize(("largest", "classes", "factor"), TAILS)
def test_no_class_is_empty_however_steep_the_tail(largest: int, classes: int, factor: int) -> None:
    counts = profile(largest, classes, factor)
    assert counts[0] == largest
    assert counts[-1] == counts.min() == max(largest // factor, 1)
    assert imbalance_factor(counts) == pytest.approx(largest / int(counts.min()))  # truncated, so maybe above the nominal


def test_the_steepest_tails_end_in_classes_of_one_image() -> None:
    ones = {(classes, factor): int((profile(largest, classes, factor) == 1).sum()) for largest, classes, factor in TAILS}
    assert ones[10, 5000] == 1
    assert ones[10, 1000] == 0
    assert ones[200, 200] == 0
    assert ones[200, 500] > 20


@pytest.mark.parametrize("factor", [200.0, 5000.0, 20000.0])
def test_the_manifest_says_the_nominal_and_the_realised_factor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    classes, each = 10, 5000
    labels = torch.arange(classes).repeat_interleave(each)
    noise = torch.arange(3 * len(labels)).reshape(-1, 3, 1, 1).to(torch.uint8)
    test = torch.zeros(classes, 3, 1, 1, dtype=torch.uint8), torch.arange(classes)
    source = stacked_source("fake", [str(c) for c in range(classes)], {"train": (noise, labels), "test": test})
    monkeypatch.setattr(preparing, "open_source", lambda *_, **__: source)
    data = Data(source="fake", imbalance_factor=factor, validation=0.0, image_size=8)
    manifest = prepare(data).manifest(data)
    counts = torch.tensor(manifest["train_counts"])
    assert manifest["imbalance_factor"] == {"nominal": factor, "realised": pytest.approx(min(factor, each))}
    assert torch.equal(counts, profile(each, classes, factor))
    assert int(counts.min()) == max(each // factor, 1)
    assert manifest["samples"]["train"] == int(counts.sum())


STEPS, BATCH = 30, 64


def rows(counts: Tensor, views: int, step: int, generator: torch.Generator) -> Batch:
    """A batch of separable Gaussian rows, as often of a class as its count says, the rarest always among them."""
    labels = torch.multinomial(counts.double(), BATCH, replacement=True, generator=generator)
    labels[0] = len(counts) - 1
    centres = 3 * torch.randn(len(counts), 5, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(views, BATCH, 5, generator=generator)
    index = torch.arange(BATCH) + BATCH * step
    return Batch(centres[labels] + 0.3 * noise, labels, index, rng.mix(0, index))


@pytest.mark.parametrize("counts", [profile(5000, 10, 5000), profile(500, 200, 500)], ids=["10x5000", "200x500"])
@pytest.mark.parametrize("cls", OBJECTIVES, ids=lambda cls: cls.__name__)
def test_every_objective_stays_finite_and_learns(cls: type[Objective], counts: Tensor) -> None:
    torch.manual_seed(0)
    model = MODELS["rows"](len(counts))
    task = Task(model, cls(counts, model, **({"queue_size": 1024} if "queue_size" in arguments(cls) else {})))
    generator = torch.Generator().manual_seed(2)
    held_out = rows(counts, cls.views, STEPS, generator)

    def judged() -> tuple[float, float]:
        """The held-out classification loss, and the share of the rows that are recognised."""
        task.eval()
        with torch.no_grad():
            right = model(held_out.views[:1]).logits[0].argmax(-1) == held_out.labels
            loss = float(task(held_out)["cls"])
        task.train()
        return loss, float(right.float().mean())

    task.on_epoch(0, 2)
    loss, right = judged()
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], 0.1, momentum=0.9)
    for step in range(STEPS):
        terms = task(rows(counts, cls.views, step, generator))
        assert all(bool(term.isfinite()) for term in terms.values()), terms
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        assert all(bool(p.grad.isfinite().all()) for p in task.parameters() if p.grad is not None)
        optimizer.step()
        task.on_step()
    assert all(bool(p.isfinite().all()) for p in task.parameters())
    now = judged()
    assert now[0] < 0.9 * loss or now[1] > right + 0.2
    task.on_epoch(1, 2)  # re-weighting may set in late
    assert torch.tensor(judged()).isfinite().all()
