"""Feature rows: a small network, and the plain loop that trains it through a `Task`.

Shapes: N rows, F columns, V views, B rows of a batch, C classes, D feature width.
"""

import copy
import itertools
import warnings
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tailwise import rng
from tailwise.data.samplers import Sampler
from tailwise.models.classifiers import Cosine, Linear
from tailwise.task import Task
from tailwise.types import Batch, Output, TailwiseError

CLASSIFIERS = {"linear": Linear, "cosine": Cosine}
RISE = 10
"""How many times its first loss, or 1, a loss may be in the last epoch: terms that set in late may add to it."""


def unit(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (F,) of the columns of rows (N, F), whatever their unit; 1 for a constant column.

    Of columns divided by a power of two, which is exact, so that the squares of huge and tiny values stay in range. Raises
    `TailwiseError` for a column whose range float64 cannot hold.
    """
    power = np.frexp(np.abs(values).max(0))[1]
    scaled = np.ldexp(values, -power)
    mean, spread = scaled.mean(0), scaled.std(0)
    with np.errstate(over="ignore"):
        far = ~np.isfinite(np.ldexp(np.abs(scaled - mean).max(0), power))
    if far.any():
        raise TailwiseError(
            f"TailwiseClassifier: column {far.argmax()} of X has a range beyond 1e308; divide it, or take its logarithm"
        )
    scale = np.ldexp(spread, power)
    return np.ldexp(mean, power), np.where((spread <= 1e-12) | (scale == 0), 1.0, scale)  # rounding of a constant is no spread


class RowNetwork(nn.Module):
    """Hidden layers (linear, GELU, dropout) and a classifier over standardised rows; satisfies `tailwise.types.Model`.

    Without hidden layers the features are the rows themselves, and a linear classifier makes it a linear model.
    """

    def __init__(self, columns: int, classes: int, hidden: tuple[int, ...], classifier: str, dropout: float) -> None:
        super().__init__()
        widths = [columns, *hidden]
        layers = [
            nn.Sequential(nn.Linear(narrow, wide), nn.GELU(), nn.Dropout(dropout))
            for narrow, wide in itertools.pairwise(widths)
        ]
        self.backbone = nn.Sequential(*layers)
        self.dim, self.classes = widths[-1], classes
        self.classifier = CLASSIFIERS[classifier](self.dim, classes)

    def forward(self, views: Tensor) -> Output:
        """Views (V, B, F) to logits (V, B, C) and features (V, B, D)."""
        features = self.backbone(views)
        return Output(self.classifier(features), features, self.classifier.weight, self.classifier.scale)


@dataclass(frozen=True)
class Rows:
    """Standardised rows (N, F) with their labels (N,) int64 or (N, C) float."""

    values: Tensor
    labels: Tensor

    def __getitem__(self, index: Tensor) -> "Rows":
        return Rows(self.values[index], self.labels[index])


class Weighted(Sampler):
    """Class shares p_c ∝ w_c n_c: what weighting every sample of class c by w_c > 0 comes to, in draws."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def shares(self, counts: Tensor, progress: float) -> Tensor:
        """See `Sampler`."""
        shares = self.weights * counts
        return shares / shares.sum()


@dataclass(frozen=True)
class Loop:
    """How long and how fast to train, and how the views of a row differ.

    Every view, of every step, is the row + ``noise`` · N(0, 1), in standard deviations of its column, with a share
    ``masking`` of its columns set to their mean.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    noise: float
    masking: float
    patience: int | None
    seed: int

    def __call__(self, task: Task, train: Rows, held: Rows | None, sampler: Sampler) -> list[float]:
        """Train in place, and give the loss of each epoch: of the held-out rows where there are some.

        The task ends with the weights of the lowest held-out loss, or else the last. ``patience`` epochs after the lowest
        it stops. Raises `TailwiseError` where the loss or a parameter is no longer finite, and warns of a loss that ends
        `RISE` times above that of the first step.
        """
        from tailwise.train.optim import Cosine as Schedule
        from tailwise.train.optim import adamw

        optimizer, schedule = adamw(task, self.lr, self.weight_decay), Schedule()
        classes = cast(int, task.model.classes)
        losses: list[float] = []
        first = 1.0
        best = task.state_dict()
        for epoch in range(self.epochs):
            task.on_epoch(epoch, self.epochs)
            order = sampler(train.labels, classes, self.seed, epoch, self.epochs)
            keys = rng.mix(self.seed, epoch, torch.arange(len(order)))
            parts = list(zip(torch.split(order, self.batch_size), torch.split(keys, self.batch_size), strict=True))
            seen = 0.0
            for part, (index, key) in enumerate(parts):
                for group in optimizer.param_groups:
                    group["lr"] = self.lr * schedule(epoch + part / len(parts), self.epochs)
                views = self.views(train.values[index], task.objective.views)
                loss = total(task(Batch(views, train.labels[index], index, key)))
                first = max(first, float(loss.detach())) if epoch == part == 0 else first
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                task.on_step()
                seen += float(loss.detach()) * len(index)
            losses.append(seen / len(order) if held is None else self.judged(task, held))
            if not all(value.isfinite().all() for value in (torch.tensor([seen, losses[-1]]), *task.parameters())):
                raise TailwiseError(
                    f"TailwiseClassifier: training diverged in epoch {epoch + 1} of {self.epochs}, its loss is no longer "
                    f"finite; lower the learning_rate, {self.lr:g}"
                )
            if held is not None and losses[-1] <= min(losses):
                best = copy.deepcopy(task.state_dict())
            if self.patience is not None and len(losses) - losses.index(min(losses)) > self.patience:
                break
        if held is not None:
            task.load_state_dict(best)
        elif losses[-1] > RISE * first:
            advice = f"training has diverged; lower the learning_rate, {self.lr:g}"
            warnings.warn(f"the loss rose from {first:.3g} to {losses[-1]:.3g}: {advice}", stacklevel=4)
        return losses

    def views(self, values: Tensor, views: int) -> Tensor:
        """Perturbed rows (V, B, F) of rows (B, F); the draws come from torch's generator."""
        values = values.expand(views, -1, -1)
        if self.noise > 0:
            values = values + self.noise * torch.randn_like(values)
        return values * (torch.rand_like(values) >= self.masking) if self.masking > 0 else values

    @torch.no_grad()
    def judged(self, task: Task, held: Rows) -> float:
        """The task's loss of rows as they are, in eval mode."""
        task.eval()
        index = torch.arange(len(held.values))
        views = held.values.expand(task.objective.views, -1, -1)
        loss = float(total(task(Batch(views, held.labels, index, rng.mix(self.seed, index)))))
        task.train()
        return loss


def total(terms: dict[str, Tensor]) -> Tensor:
    """The sum of the terms."""
    return torch.stack(list(terms.values())).sum()
