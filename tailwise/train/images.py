"""A run whose samples are images with one label each."""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from jsonargparse import Namespace
from torch import Tensor

from tailwise import metrics
from tailwise.data.loader import EvalLoader
from tailwise.data.source import SMALL, Split
from tailwise.data.views import MultiView, multi_view
from tailwise.evaluate import collect, correction, observe, predictions, result
from tailwise.models import Network, network
from tailwise.models.adapters import adapt, start_from_means
from tailwise.posthoc import Validation
from tailwise.train import choose
from tailwise.train.choose import FEW, MANY, MEANS, Choice, batch_size, first_of_each
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Engine, Net, Recipe
from tailwise.train.run import Run
from tailwise.types import TailwiseError

PAGE = "report.html"


@dataclass(frozen=True)
class PreparedImages(Prepared):
    """See `Prepared`."""

    headline: ClassVar[str] = "balanced"
    check_batch: ClassVar[int] = 512

    @property
    def batch_size(self) -> int:
        """A sixteenth of the training set, within 32 to 128, and what the memory holds; see `tailwise.train.choose`."""
        return batch_size(len(self.train.labels), self.size)

    @property
    def backbone(self) -> str:
        """resnet32 for small images, resnet50 for larger ones where they are many, else resnet18."""
        return "resnet32" if self.size <= SMALL else "resnet50" if len(self.train.labels) >= MANY else "resnet18"

    @property
    def decoder(self) -> str:
        """An image has none."""
        return "none"

    def choices(self, record: Namespace, told: Collection[str]) -> tuple[Choice, ...]:
        """From the splits that were made, and the number, the size and the classes of the images."""
        objective = choose.objective(told, "LogitAdjusted", "all classes count alike", self.counts)
        split = choose.split(record.data, self.train, self.held_out(), self.counts)
        return split, *objective, *choose.choices(record, told, self.train)

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
            per_class = max(min(FEW, MEANS // len(self.names)), 1)
            few = self.train.subset(first_of_each(self.train.labels, per_class))
            start_from_means(made, EvalLoader(few, self.plain(), batch_size=FEW))
        return made

    def views(self, number: int) -> MultiView:
        """See `Prepared`."""
        named = [*self.presets, *[self.presets[-1]] * number][:number]
        return multi_view(named, self.size, self.normalise)

    def plain(self) -> MultiView:
        """See `Prepared`."""
        return multi_view(["plain"], self.size, self.normalise)

    def look(self, tally: Tensor) -> Mapping[str, Tensor]:
        """Balanced accuracy: the mean recall."""
        return {"balanced": metrics.recalls(tally).nanmean().float()}

    def validation(self, model: Network) -> Validation | None:
        """See `Prepared`."""
        return Validation(*collect(model, self._loader(self.checked)))

    def judge(self, model: Network, carried_log_prior: Tensor, engine: Engine) -> dict[str, Any]:
        """`tailwise.evaluate.result`; the gap is measured on training images without augmentation."""
        trained = metrics.tally(*predictions(model, self._loader(self.train, engine.workers)), model.classes)
        shift = correction(carried_log_prior, self.counts)
        answers = observe(model, self._loader(self.test, engine.workers), shift)
        return result(answers, self.counts, self.names, trained)

    def report(self, model: Network, result: Mapping[str, Any], folder: Path) -> None:
        """Write ``report.html``."""
        from tailwise.report import images
        from tailwise.report.evidence import gather

        def write(page: Path, run: Run) -> None:
            evidence = gather(model, self._loader(self.test), self.test, self.counts)
            images.write(page, result, evidence, run.metrics(), run.manifest)

        self._draw(folder, write)

    def _draw(self, folder: Path, write: Callable[[Path, Run], None]) -> None:
        """Write a run's page; one that cannot be drawn is said to be missing, and loses nobody a run."""
        try:
            write(folder / PAGE, Run(folder))
        except Exception as error:
            advice = f"the result is whole; draw it again with `tailwise evaluate {folder}`"
            print(f"{folder / PAGE}: could not be drawn ({error}); {advice}", file=sys.stderr)

    def _loader(self, split: Split, workers: int = 0) -> EvalLoader:
        return EvalLoader(split, self.plain(), batch_size=self.check_batch, workers=workers)
