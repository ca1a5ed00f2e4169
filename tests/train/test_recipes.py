"""Every shipped recipe builds, and two of its optimizer steps move all that it trains."""

from pathlib import Path

import pytest
import torch
import yaml

from tailwise.data import Source, Split, Stacked
from tailwise.data.views import normalisation
from tailwise.models import Network, save
from tailwise.train import parse
from tailwise.train.engine import build_task, training_data
from tailwise.train.fit import NEEDED
from tailwise.train.optim import sgd
from tailwise.train.prepare import Prepared
from tailwise.train.recipe import Recipe

CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100}
BATCH = 8


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    save(Network("resnet8", 10, "cosine"), folder, {"classes": [str(c) for c in range(10)]})
    return folder


def random_data(recipe: Recipe) -> Prepared:
    classes, size = CLASSES[recipe.data.source], 8 if recipe.data.source == "digits" else 32
    labels = torch.arange(2 * classes) % classes
    pixels = torch.randint(0, 256, (len(labels), 3, size, size), generator=torch.Generator().manual_seed(0))
    split = Split(Stacked(pixels.to(torch.uint8)), labels)
    names = tuple(str(c) for c in range(classes))
    source = Source(recipe.data.source, names, {"train": split, "test": split}, (), "0" * 64)
    views = recipe.data.views or ("shift",)
    normalise = normalisation(source.name)
    return Prepared(source, split, split, "test", split, split.counts(classes), size, normalise, views)


@pytest.mark.parametrize("name", sorted(parse.shipped()))
def test_a_shipped_recipe_builds_and_takes_two_steps(name: str, teacher: Path) -> None:
    text = NEEDED.sub(str(teacher), yaml.safe_dump(parse.read(name)))
    recipe = parse.build(parse.resolve(yaml.safe_load(text), (f"--batch_size={BATCH}",)))
    prepared = random_data(recipe)
    task = build_task(recipe, prepared)
    loader = training_data(recipe, prepared, task.objective.views)
    optimizer = sgd(task, **vars(recipe.optim))
    task.train()
    task.on_epoch(0, recipe.epochs)
    before = {key: value.detach().clone() for key, value in task.named_parameters() if value.requires_grad}
    for step in range(2):
        terms = task(loader.batch(step))
        assert "cls" in terms
        assert all(bool(value.isfinite()) for value in terms.values()), terms
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        assert all(value.grad is not None for value in task.parameters() if value.requires_grad)
        optimizer.step()
        task.on_step()
    after = dict(task.named_parameters())
    assert all(bool(after[key].isfinite().all()) for key in before)
    # a temperature gets no gradient until a class has a second key; everything with two axes moves
    assert not [key for key, value in before.items() if value.ndim > 1 and torch.equal(value, after[key])]
    assert 0 <= recipe.schedule(0.0, recipe.epochs) <= 1


def test_a_gml_recipe_can_distil_from_its_frozen_teacher(teacher: Path) -> None:
    text = NEEDED.sub(str(teacher), yaml.safe_dump(parse.read("digits_lt/gml")))
    recipe = parse.build(parse.resolve(yaml.safe_load(text), ("--objective.distillation_weight=1",)))
    task = build_task(recipe, random_data(recipe))
    kept = {key: value.clone() for key, value in task.objective.teacher.state_dict().items()}  # type: ignore[union-attr]
    task.train()
    assert "div" in task(training_data(recipe, random_data(recipe), task.objective.views).batch(0))
    task.on_step()
    now = task.objective.teacher.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(kept[key], now[key]) for key in kept)
