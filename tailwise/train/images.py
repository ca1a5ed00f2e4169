"""A run whose samples are images with one label each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from jsonargparse import Namespace
from torch import Tensor

from tailwise import calibrate, metrics
from tailwise.counts import absent, shot_groups
from tailwise.data.loader import EvalLoader
from tailwise.data.source import SMALL, Split
from tailwise.data.views import MultiView, multi_view
from tailwise.evaluate import collect, correction, predictions, result
from tailwise.models import Network, network
from tailwise.models.adapters import adapt, start_from_means
from tailwise.posthoc import Validation
from tailwise.priors import adjust
from tailwise.train import choose, rules
from tailwise.train.choose import Choice, Told
from tailwise.train.prepared import Judged, Prepared
from tailwise.train.recipe import Engine, Net, Recipe
from tailwise.train.run import Run
from tailwise.types import TailwiseError


@dataclass(frozen=True)
class PreparedImages(Prepared):
    """See `Prepared`."""

    headline: ClassVar[str] = "balanced"
    check_batch: ClassVar[int] = 512

    def batch_size(self, views: int) -> int:
        """See `tailwise.train.rules.batch_size`."""
        return rules.batch_size(len(self.train.labels), self.size, views)

    @property
    def backbone(self) -> str:
        """resnet32 for small images, resnet50 for larger ones where they are many, else resnet18."""
        return "resnet32" if self.size <= SMALL else "resnet50" if len(self.train.labels) >= rules.MANY else "resnet18"

    @property
    def decoder(self) -> str:
        """An image has none."""
        return "none"

    def choices(self, record: Namespace, said: Told, views: int) -> tuple[Choice, ...]:
        """From the splits that were made, and the number, the size and the classes of the images."""
        objective = choose.objective(said, "LogitAdjusted", "all classes count alike", self.counts)
        split = choose.split(record.data, self.train, self.held_out(), self.counts)
        return split, *objective, *choose.choices(record, said, self.train, views)

    def check(self, recipe: Recipe) -> None:
        """A decoder makes features of pixels."""
        if recipe.model.decoder not in ("auto", "none"):
            raise TailwiseError(f"model.decoder {recipe.model.decoder}: the data label images, not pixels; leave it out")

    def network(self, net: Net) -> Network:
        """See `Prepared`."""
        classifier = cast(Literal["linear", "cosine", "scaled"], net.classifier)  # settled
        made = network(net.backbone, len(self.names), classifier, net.weights, net.experts)
        if net.adapter == "lora":
            adapt(made)
        if net.head == "class_means":
            per_class = max(min(rules.FEW, rules.MEANS // len(self.names)), 1)
            few = self.train.subset(rules.first_of_each(self.train.labels, per_class))
            start_from_means(made, EvalLoader(few, self.plain(), batch_size=rules.FEW))
        return made

    def views(self, number: int) -> MultiView:
        """See `Prepared`."""
        named = [*self.presets, *[self.presets[-1]] * number][:number]
        return multi_view(named, self.size, self.normalise)

    def plain(self) -> MultiView:
        """See `Prepared`."""
        return multi_view(["plain"], self.size, self.normalise)

    def look(self, tally: Tensor) -> Mapping[str, Tensor]:
        """Balanced accuracy, the mean recall, and that of each shot group that is looked at."""
        recalls = metrics.recalls(tally)
        groups = {name: metrics.group_mean(recalls, mask) for name, mask in shot_groups(self.counts).items()}
        known = {name: torch.tensor(mean) for name, mean in groups.items() if mean is not None}
        return {"balanced": recalls.nanmean().float(), **known}

    def validation(self, model: Network) -> Validation | None:
        """See `Prepared`."""
        return Validation(*collect(model, self._loader(self.checked)))

    def judge(self, model: Network, about: Mapping[str, Any], engine: Engine) -> Judged:
        """`tailwise.evaluate.result`; the gap is measured on training images without augmentation."""
        from tailwise.report import images
        from tailwise.report.evidence import gather
        from tailwise.survey.leaks import Seen, leaks

        of_train, of_test = (Seen(model, self.normalise.mean, self.normalise.std) for _ in range(2))
        trained = metrics.tally(*predictions(of_train, self._loader(self.train, engine.workers)), model.classes)
        carried, calibration = torch.tensor(about["carried_log_prior"]), calibrate.stated(about)

        def shipped(logits: Tensor) -> Tensor:
            here = logits.device
            free = adjust(logits.double(), carried.to(here), absent=absent(self.counts).to(here))
            return calibration._replace(scale=calibration.scale.to(here), bias=calibration.bias.to(here))(free)

        tested = self._loader(self.test, engine.workers)
        answers, evidence = gather(of_test, tested, self.test, self.counts, correction(carried, self.counts), shipped)

        def draw(page: Path, whole: Mapping[str, Any], run: Run) -> None:
            images.write(page, whole, evidence, run.metrics(), run.manifest)

        leak = leaks(of_train, of_test)
        torn = len(self.train.shared_groups(self.test))
        figures = result(answers, self.counts, self.names, trained)
        return Judged(figures | {"leak": leak and leak | {"torn": torn}}, draw)

    def _loader(self, split: Split, workers: int = 0) -> EvalLoader:
        return EvalLoader(split, self.plain(), batch_size=self.check_batch, workers=workers)
