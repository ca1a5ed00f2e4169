"""Every shipped recipe builds; two of its optimizer steps move all that it trains, or its post-hoc step the classifier."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scenes
import torch
import yaml
from torch import Tensor

from tailwise.data import Source, Split, Stacked
from tailwise.data.pixels import PixelSplit
from tailwise.data.views import IMAGENET, normalisation
from tailwise.models import DenseNetwork, network, save
from tailwise.posthoc import Validation
from tailwise.task import Task
from tailwise.train import parse
from tailwise.train.engine import build_task, training_data
from tailwise.train.finish import carried_log_prior
from tailwise.train.images import PreparedImages
from tailwise.train.needs import NEEDED
from tailwise.train.optim import optimizer
from tailwise.train.pixels import PreparedPixels
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Net, Recipe

CLASSES = {
    "digits": 10,
    "cifar10": 10,
    "cifar100": 100,
    "tiny-imagenet-32": 200,
    "imagenet_lt": 1000,
    "places_lt": 365,
    "inaturalist18": 8142,
    "camvid": 11,
    "ade20k": 150,
}
PIXELS = ("camvid", "ade20k")
RECIPES = sorted(parse.shipped())
Build = Callable[..., Recipe]


@functools.cache
def random_split(classes: int, size: int) -> Split:
    """Two images of every class and sixteen of the first."""
    labels = torch.cat([torch.arange(2 * classes) % classes, torch.zeros(14, dtype=torch.int64)])
    pixels = torch.randint(0, 256, (len(labels), 3, size, size), generator=torch.Generator().manual_seed(0))
    return Split(Stacked(pixels.to(torch.uint8)), labels)


@functools.cache
def random_scenes(classes: int) -> PixelSplit:
    return scenes.split(8, classes=classes, height=64, width=64)


def random_data(recipe: Recipe) -> Prepared:
    if recipe.data.source in PIXELS:
        split = random_scenes(classes := CLASSES[recipe.data.source])
        source = Source(recipe.data.source, tuple(map(str, range(classes))), {"train": split, "test": split}, (), "0" * 64)
        given = replace(recipe.data.pixels, short_side=64)
        return PreparedPixels(
            source, split, split, "test", split, split.counts(classes), 32, IMAGENET, recipe.data.views, given
        )
    classes, size = (
        CLASSES[recipe.data.source],
        8 if recipe.data.source == "digits" else 224 if recipe.model.adapter == "lora" else 32,
    )
    split = random_split(classes, size)
    source = Source(recipe.data.source, tuple(map(str, range(classes))), {"train": split, "test": split}, (), "0" * 64)
    views = recipe.data.views or ("shift",)
    return PreparedImages(source, split, split, "test", split, split.counts(classes), size, normalisation(source.name), views)


def untrained(net: Net, classes: int) -> Any:
    """The network that a model section describes, with random weights."""
    if net.decoder != "auto":
        return DenseNetwork(net.decoder, net.backbone, classes, net.classifier, width=net.width)
    return network(net.backbone, classes, net.classifier, experts=net.experts)


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an untrained network that fits where the run of a recipe is needed; recipes alike share one."""
    found: dict[tuple[Any, ...], Path] = {}

    def folder(name: str) -> Path:
        recipe = parse.build(parse.resolve(parse.read(name), ()))
        classes = CLASSES[recipe.data.source]
        key = recipe.model.backbone, recipe.model.decoder, recipe.model.classifier, recipe.model.experts, classes
        if key not in found:
            found[key] = tmp_path_factory.mktemp("needed")
            save(untrained(recipe.model, classes), found[key], {"classes": list(map(str, range(classes)))})
        return found[key]

    return folder


@pytest.fixture(scope="session")
def build(stand_in: Callable[[str], Path]) -> Build:
    """A shipped recipe with stand-ins for the runs that it needs, random weights, and a small batch."""

    def built(name: str, *words: str) -> Recipe:
        read = parse.read(name)
        text = NEEDED.sub(lambda found: str(stand_in(read["needs"][found[1]])), yaml.safe_dump(read))
        batch = 4 if CLASSES[read["data"]["source"]] < 300 else 2
        return parse.build(
            parse.resolve(
                yaml.safe_load(text), (f"--batch_size={batch}", "--model.weights=none", "--model.head=random", *words)
            )
        )

    return built


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_does_what_it_says(name: str, build: Build) -> None:
    recipe = build(name)
    prepared = random_data(recipe)
    task = build_task(recipe, prepared)
    if recipe.epochs == 0:
        changes_the_classifier(recipe, prepared, task)
    else:
        takes_two_steps(recipe, prepared, task)
        assert 0 <= recipe.schedule(0.0, recipe.epochs) <= 1


def takes_two_steps(recipe: Recipe, prepared: Prepared, task: Task) -> None:
    loader = training_data(recipe, prepared, task.objective.views, torch.device("cpu"))
    stepping = optimizer(task, **vars(recipe.optim))
    task.train()
    task.on_epoch(0, recipe.epochs)
    before = {key: value.detach().clone() for key, value in task.named_parameters() if value.requires_grad}
    frozen = copied(task.model.backbone.state_dict()) if recipe.model.freeze == "backbone" else {}
    for step in range(2):
        terms = task(loader.batch(step))
        assert "cls" in terms
        assert all(bool(value.isfinite()) for value in terms.values()), terms
        stepping.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        assert all(value.grad is not None for value in task.parameters() if value.requires_grad)
        stepping.step()
        task.on_step()
    after = dict(task.named_parameters())
    assert all(bool(after[key].isfinite().all()) for key in before)
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert moved
    # a temperature gets no gradient until a class has a second key; everything with two axes moves
    assert not [key for key, value in before.items() if value.ndim > 1 and key not in moved]
    assert not frozen or not [key for key in before if key.startswith("model.backbone.")]
    now = task.model.backbone.state_dict()
    assert not [key for key, value in frozen.items() if not torch.equal(value, now[key])]  # the norms' statistics neither


def changes_the_classifier(recipe: Recipe, prepared: Prepared, task: Task) -> None:
    assert recipe.post_hoc is not None
    generator = torch.Generator().manual_seed(0)
    labels = prepared.test.labels[:256]
    logits = torch.randn(len(labels), len(prepared.names), generator=generator, dtype=torch.float64)
    before = copied(task.model.state_dict())
    carried = carried_log_prior(task.objective, recipe.sampler, recipe.epochs)
    edited = recipe.post_hoc(task.model, Validation(logits, labels), prepared.counts, carried)
    after = task.model.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed
    assert all(key.startswith("classifier.") for key in changed)
    assert bool(edited.carried_log_prior.isfinite().all())


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in state.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_inherits_no_claim(name: str) -> None:
    own = yaml.safe_load(parse.shipped()[name].read_text(encoding="utf-8"))["about"]
    about = parse.read(name)["about"]
    if about.get("claimed", "")[:1].isdigit():
        assert {"claimed", "source", "differs"} <= set(own)
        assert own["source"]
    else:
        assert not about.get("source")
        assert not about.get("differs")


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_needs_is_trained_on_its_data(name: str) -> None:
    recipe = parse.read(name)
    for needed in map(parse.read, recipe.get("needs", {}).values()):
        assert "needs" not in needed
        for key in ("source", "imbalance_factor"):
            assert needed["data"].get(key) == recipe["data"].get(key)


def test_a_gml_recipe_can_distil_from_its_frozen_teacher(build: Build) -> None:
    recipe = build("digits_lt/gml", "--objective.distillation_weight=1")
    task = build_task(recipe, random_data(recipe))
    kept = copied(task.objective.teacher.state_dict())  # type: ignore[union-attr]
    task.train()
    assert "div" in task(training_data(recipe, random_data(recipe), task.objective.views, torch.device("cpu")).batch(0))
    task.on_step()
    now = task.objective.teacher.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(kept[key], now[key]) for key in kept)
