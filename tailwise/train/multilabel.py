"""A run whose samples are images with several labels each, or none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jsonargparse import Namespace
from torch import Tensor

from tailwise.counts import absent, shot_groups
from tailwise.data.samplers import Shuffled
from tailwise.evaluate import collect
from tailwise.losses import Objective
from tailwise.losses.binary_cross_entropy import MultiLabel, log_odds
from tailwise.metrics import average_precisions, group_mean, multilabel_summary
from tailwise.metrics.multilabel import GROUPS, binned_average_precisions, histograms, thresholded
from tailwise.models import Network
from tailwise.train import choose
from tailwise.train.choose import Choice, Told
from tailwise.train.images import PreparedImages
from tailwise.train.prepared import Judged
from tailwise.train.recipe import Engine, Recipe
from tailwise.types import TailwiseError

OBJECTIVE = "BinaryCrossEntropy"
"""What a run gets whose user names none, with `TAU`: logit adjustment, a sigmoid for each class."""
TAU = 1.0
TASK = "multilabel"
"""What ``model.json`` and ``result.json`` call it."""


@dataclass(frozen=True)
class PreparedMultiLabel(PreparedImages):
    """See `Prepared`. Judged by mean average precision; no threshold is chosen, and nothing is calibrated."""

    headline: ClassVar[str] = "map"

    def choices(self, record: Namespace, said: Told, views: int) -> tuple[Choice, ...]:
        """As of images with one label, but for the objective and for a classifier that starts from class means."""
        objective = choose.objective(said, f"{OBJECTIVE}, tau {TAU:g}", "an image may have several labels", self.counts)
        split = choose.split(record.data, self.train, self.held_out(), self.counts)
        return split, *objective, *choose.choices(record, said.with_("model.classifier"), self.train, views)

    def objective_options(self, kind: type[Objective]) -> dict[str, Any]:
        """See `Prepared`."""
        if not issubclass(kind, MultiLabel):
            raise TailwiseError(
                f"objective {kind.__name__}: takes one class per image and these have several; choose BinaryCrossEntropy, "
                "Asymmetric or DistributionBalanced"
            )
        return {"samples": len(self.train.labels)}

    def check(self, recipe: Recipe) -> None:
        """Samplers and class means go by an image's one class, and some post-hoc steps by its probability."""
        super().check(recipe)
        if not isinstance(recipe.sampler, Shuffled):
            raise TailwiseError("sampler: draws images by their one class, and these have several; leave it out")
        if recipe.model.head == "class_means":
            raise TailwiseError("model.head class_means: goes by an image's one class, and these have several; leave it out")
        if recipe.model.experts > 1:
            raise TailwiseError("model.experts: experts name one class of an image, and these have several; leave it at 1")
        if recipe.post_hoc.reads_validation:
            raise TailwiseError(f"post_hoc: {type(recipe.post_hoc).__name__} goes by an image's one class; leave it out")

    def tally(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`histograms` of the logits."""
        return histograms(logits, labels)

    def look(self, tally: Tensor) -> Mapping[str, Tensor]:
        """Mean average precision."""
        return {"map": binned_average_precisions(tally).nanmean().float()}

    def validation(self, model: Network) -> None:
        """None: nothing is fitted to it."""

    def about(self) -> dict[str, Any]:
        """As `Prepared`, and how many samples the counts of positives are among."""
        return super().about() | {"task": TASK, "train_samples": len(self.train.labels)}

    def judge(self, model: Network, about: Mapping[str, Any], engine: Engine) -> Judged:
        """`metrics.multilabel_summary` of the test images, and what is compared with it.

        Precision, recall and F1 are at a probability of one half as `tailwise predict` gives it, for classes as frequent as in
        training; ``post_hoc`` are theirs where each class is in half of the images. ``gap`` is average precision on training
        images without augmentation less that on test images.
        """
        from tailwise.report import multilabel

        logits, targets = collect(model, self._loader(self.test, engine.workers))
        if not bool(logits.isfinite().all()):
            raise TailwiseError("judge: some logits are not finite; the model diverged, judge an earlier checkpoint")
        summary = multilabel_summary(logits, targets, self.counts)
        carried = torch.tensor(about["carried_log_prior"])
        told = carried - log_odds(self.counts, len(self.train.labels))  # what `tailwise predict` takes away by default
        called = thresholded(logits, targets, self._limit(told))
        keys, tested = ("precision", "recall", "f1"), self.test.counts(len(self.names)).tolist()
        columns = [self.names, self.counts.tolist(), tested, summary.pop("ap"), *(called[key] for key in keys)]
        rows = [dict(zip(("name", "train", "test", "ap", *keys), row, strict=True)) for row in zip(*columns, strict=True)]
        worst = min((row for row in rows if row["ap"] is not None), key=lambda row: row["ap"], default=None)
        figures = {
            "task": TASK,
            "n_test": len(targets),
            **summary,
            "per_class": rows,
            "worst": worst and {"name": worst["name"], "ap": worst["ap"]},
            "macro_f1": called["macro_f1"],
            "micro_f1": called["micro_f1"],
            "labels_per_image": {
                "train": float(self.counts.sum()) / len(self.train.labels),
                "test": float(targets.sum()) / len(targets),
                "predicted": called["predicted"],
            },
            "gap": self._gap(average_precisions(logits, targets), model, engine),
            "post_hoc": {
                k: v for k, v in thresholded(logits, targets, self._limit(carried)).items() if not isinstance(v, list)
            },
        }
        scored = multilabel.Scored(logits - told.to(logits), targets > 0, self.test.images)
        return Judged(figures, lambda page, whole, run: multilabel.write(page, whole, scored, run.metrics(), run.manifest))

    def _gap(self, tested: Tensor, model: Network, engine: Engine) -> dict[str, float | None]:
        gap = average_precisions(*collect(model, self._loader(self.train, engine.workers))) - tested
        masks = {"map": torch.ones_like(gap, dtype=torch.bool)}
        masks |= {GROUPS[name]: mask for name, mask in shot_groups(self.counts).items()}
        return {name: group_mean(gap, mask) for name, mask in masks.items()}

    def _limit(self, shift: Tensor) -> Tensor:
        """Logits (C,) above which a class is called, once ``shift`` is taken away; one that training lacked is never called."""
        return shift.masked_fill(absent(self.counts), torch.inf).float()
