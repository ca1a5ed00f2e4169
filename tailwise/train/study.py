"""The features of a finished run under the microscope: the geometry of its classes and what they know, by shot group."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tailwise import rng
from tailwise.data import Split
from tailwise.data.views import MultiView, multi_view
from tailwise.metrics import geometry, information, neighbours
from tailwise.metrics.bootstrap import Figure, gap_figure, sample_figure
from tailwise.metrics.gaussianity import gaussianity
from tailwise.models import Network
from tailwise.train import needs, parse
from tailwise.train.images import PreparedImages
from tailwise.train.multilabel import PreparedMultiLabel
from tailwise.train.prepare import prepare
from tailwise.train.run import RECIPE, Run, locked
from tailwise.types import TailwiseError

SAMPLES = 10_000
"""Images of each split that are looked at, at most: equal shares of the classes."""
PAIRS = 2000
"""Of them, those that are looked at in two augmented views."""
SUBSETS = (12, 64)
"""Samples of a subset in `tailwise.metrics.gaussianity`: half of a small class's test images, within these bounds."""


class Seen(NamedTuple):
    """What the model makes of the images of a split: as they are, and of some of them in two views."""

    features: Tensor  # (N, D)
    labels: Tensor  # (N,)
    right: Tensor  # (N,) float64, 1 where the prediction is right
    views: Tensor  # (2, n, D)
    view_labels: Tensor  # (n,)


def study(run: Run | str | Path, samples: int = SAMPLES, seed: int = 0) -> dict[str, Any]:
    """The geometry and the information of a finished run's features, what its classifier reads, as plain JSON values.

    ``test``, ``train`` and ``between`` (training and test) hold figures by name, each for ``all`` classes and the ``many``,
    ``medium`` and ``few``: ``value``, ``low`` and ``high`` of the 95 % interval, ``classes``; None where undefined. They are
    those of `tailwise.metrics` `spread`, `angles`, `drift`, `nearest_mean`, `uniformity`, `alignment`, `gaussianity`,
    `label_information` and `instance_information`, and ``recall``, with ``gap`` between the splits, of the model as it is.

    At most ``samples`` images of each split are looked at, in eval mode and without augmentation. The two views of alignment
    and instance information are the same augmentation for every run of one data set, whatever it was trained with. Raises
    `TailwiseError` for a run that labels pixels, or several labels to an image, and for one that is not finished.
    """
    from tailwise.report.geometry import digest  # templates load where they are needed

    run = run if isinstance(run, Run) else Run(run)
    if samples < 2:
        raise TailwiseError(f"study: at least two images are needed, got --samples {samples}")
    recipe = needs.without(parse.resolve(parse.read(run.path / RECIPE), ()))
    prepared = prepare(recipe.data)
    if not isinstance(prepared, PreparedImages) or isinstance(prepared, PreparedMultiLabel):
        raise TailwiseError(f"study: {run.path} does not give images one label each; geometry by class is of such runs only")
    saved = run.model()
    if torch.cuda.is_available() and recipe.engine.accelerator != "cpu":
        saved = saved.cuda()
    counts = torch.as_tensor(saved.about.get("train_counts", prepared.counts.tolist()))
    preset = "shift" if prepared.source.name == "digits" else "simaugment"
    pairs = multi_view([preset, preset], prepared.size, prepared.normalise)
    train, test = (
        _seen(saved.network, split, counts.numel(), prepared.plain(), pairs, samples, prepared.check_batch, seed)
        for split in (prepared.train, prepared.test)
    )
    size = _subset(test.labels, counts.numel())
    figures, limits = _figures(train, test, counts, size, seed)
    result = run.result
    return {
        **{key: result.get(key) for key in ("recipe", "objective", "data", "seed")},
        "model": digest(run.path),
        "samples": {"train": len(train.labels), "test": len(test.labels)},
        "dim": train.features.shape[1],
        "views": preset,
        "subset": size,
        "ceilings": limits,
        **figures,
    }


def write_study(run: Run | str | Path, samples: int = SAMPLES) -> dict[str, Any]:
    """`study`, also written to the run's ``study.json``, and shown on its page where there is one."""
    from tailwise.report.geometry import STUDY, renew

    run = run if isinstance(run, Run) else Run(run)
    found = study(run, samples)
    with locked(run.path):
        run.write(STUDY, found)
        renew(run.path)
    return found


def _subset(labels: Tensor, classes: int) -> int:
    """Half of the images of a class that only a tenth of the classes is smaller than, even and within `SUBSETS`."""
    sizes = labels.bincount(minlength=classes)
    sizes = sizes[sizes > 0].sort().values
    half = int(sizes[len(sizes) // 10]) // 2
    return min(max(half - half % 2, SUBSETS[0]), SUBSETS[1])


def _seen(
    model: Network,
    split: Split,
    classes: int,
    plain: MultiView,
    pairs: MultiView,
    samples: int,
    batch: int,
    seed: int,
) -> Seen:
    """What the model makes of at most ``samples`` labelled images of a split."""
    labelled = split.subset((split.labels >= 0).nonzero()[:, 0])
    split = labelled.subset(neighbours.evenly(labelled.labels, classes, samples))
    if not len(split.labels):
        raise TailwiseError("study: a split without a labelled image; train on data that has some")
    some = split.subset(neighbours.evenly(split.labels, classes, PAIRS))
    with torch.inference_mode():
        told = [(f[0], hits) for f, hits in _passes(model, split, plain, batch, seed)]
        views = [f for f, _ in _passes(model, some, pairs, batch // 2, seed)]
    features, right = (torch.cat(column).clone() for column in zip(*told, strict=True))
    return Seen(features, split.labels, right, torch.cat(views, 1).clone(), some.labels)


def _passes(model: Network, split: Split, views: MultiView, batch: int, seed: int) -> Sequence[tuple[Tensor, Tensor]]:
    """Features (V, b, D) and whether the first view's prediction is right (b,), batch by batch, on the CPU."""
    device = next(model.parameters()).device
    found = []
    for index in torch.split(torch.arange(len(split.labels)), max(batch, 1)):
        seen, labels = views(split, index, rng.mix(seed, index))
        out = model(seen.to(device))
        found.append((out.features.cpu().float(), (out.at_labels().argmax(-1).cpu() == labels).double()))
    return found


def _figures(
    train: Seen, test: Seen, counts: Tensor, size: int, seed: int
) -> tuple[dict[str, dict[str, Figure]], dict[str, Any]]:
    """All figures by ``test``, ``train`` and ``between``, and the ceilings of the information."""
    found: dict[str, dict[str, Figure]] = {}
    limits: dict[str, Any] = {}
    for name, seen in (("test", test), ("train", train)):
        x, y, (first, second) = seen.features, seen.labels, seen.views
        told = information.instance_information(first, second, seen.view_labels, counts, seed=seed)
        limits[f"instance_information_{name}"] = {"nats": told.ceiling, "samples": told.samples}
        judged = (x, y) if name == "test" else (None, None)
        near = neighbours.nearest_mean(train.features, train.labels, counts, judged[0], judged[1], seed=seed)
        found[name] = {
            "recall": sample_figure(seen.right, y, counts, seed=seed, shares=True),
            **geometry.spread(x, y, counts, seed=seed),
            **geometry.angles(x, y, counts, seed=seed),
            **near,
            "uniformity": neighbours.uniformity(x, y, counts, seed=seed),
            "alignment": neighbours.alignment(first, second, seen.view_labels, counts, seed=seed),
            **gaussianity(x, y, counts, size, seed=seed),
            "instance_information": told.nats,
        }
    crossed = information.label_information(test.features, test.labels, counts, seed=seed)
    fewer = torch.minimum(*(side.labels.bincount(minlength=counts.numel()) for side in (train, test)))
    asked = (fewer > 1)[test.labels]  # one image teaches a probe nothing
    moved = information.label_information(
        train.features, train.labels, counts, test.features[asked], test.labels[asked], seed=seed
    )
    limits["label_information"] = {"nats": crossed.ceiling, "samples": crossed.samples}
    found["test"] |= {"label_information": crossed.nats, "label_information_share": crossed.share}
    found["between"] = {
        "gap": gap_figure(train.right, train.labels, test.right, test.labels, counts, seed=seed, shares=True),
        **geometry.drift(train.features, train.labels, test.features, test.labels, counts, seed=seed),
        "label_information": moved.nats,
    }
    return found, limits
