"""A run whose samples are pixels: images with masks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from jsonargparse import Namespace
from torch import Tensor

from tailwise import metrics
from tailwise.data.augment.pixel_colours import pixel_colours
from tailwise.data.augment.pixels import Geometry, PixelViews, read_pair, resized_labels
from tailwise.data.pixels import PixelSplit
from tailwise.data.samplers import Shuffled
from tailwise.data.source import Split
from tailwise.data.views import Normalisation, Views
from tailwise.evaluate import correction
from tailwise.inference import Sliding, classes_at
from tailwise.metrics.segmentation import boundary_tally, ious, segmentation_summary
from tailwise.models import DenseNetwork, Network
from tailwise.train.choose import Choice, Told
from tailwise.train.prepared import Judged, Prepared
from tailwise.train.recipe import Engine, Net, Pixels, Recipe
from tailwise.types import TailwiseError

CROP = 512
"""Side of a training crop where the recipe gives none and the images are as large."""
SHOWN = 8
"""Images on the report's page, those of lowest IoU first."""


@dataclass(frozen=True)
class WholePictures:
    """One whole image at a time, with its labels at the image's own size: the view of a look between epochs."""

    short_side: int | None
    normalise: Normalisation

    def __call__(self, split: Split, index: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """As `tailwise.data.views.Views`, V = 1; images of one call must come out at one size."""
        pairs = [read_pair(cast(PixelSplit, split), i, self.short_side) for i in index.tolist()]
        labels = torch.stack([resized_labels(truth, (image.shape[1], image.shape[2])) for image, truth in pairs])
        return self.normalise(torch.stack([image for image, _ in pairs]))[None], labels


@dataclass(frozen=True)
class PreparedPixels(Prepared):
    """See `Prepared`."""

    pixels: Pixels

    headline: ClassVar[str] = "miou"
    check_batch: ClassVar[int] = 1

    def batch_size(self, views: int) -> int:
        """A thirty-second of the training images, within 4 to 16."""
        return min(max(len(self.train.labels) // 32, 4), 16)

    @property
    def backbone(self) -> str:
        """The usual encoder."""
        return "resnet50"

    @property
    def decoder(self) -> str:
        """The usual decoder."""
        return "upernet"

    def choices(self, record: Namespace, said: Told, views: int) -> tuple[Choice, ...]:
        """None: a recipe's own defaults stay."""
        return ()

    def check(self, recipe: Recipe) -> None:
        """Samplers draw images, which moves the classes of pixels by unknown shares; steps may need too many logits."""
        if not isinstance(recipe.sampler, Shuffled):
            raise TailwiseError("sampler: draws images by their one class, and masks have many; leave it out")
        if recipe.post_hoc.reads_validation:
            step = type(recipe.post_hoc).__name__
            raise TailwiseError(f"post_hoc: {step} reads the logits of all validation samples, too many where they are pixels")

    def network(self, net: Net) -> Network:
        """See `Prepared`."""
        if net.experts > 1:
            raise TailwiseError("model.experts: experts label images, not pixels; leave it at 1")
        classifier = cast(Literal["linear", "cosine", "scaled"], net.classifier)  # settled
        return DenseNetwork(net.decoder, net.backbone, len(self.names), classifier, net.weights, net.width)

    def views(self, number: int) -> Views:
        """See `Prepared`."""
        named = [*self.presets, *[self.presets[-1]] * number][:number]
        given = self.pixels
        geometry = Geometry(self.size, given.short_side, given.scales, given.max_share)
        return cast(Views, PixelViews(geometry, [pixel_colours(name) for name in named], self.normalise))

    def plain(self) -> WholePictures:
        """See `Prepared`."""
        return WholePictures(self.pixels.short_side, self.normalise)

    def look(self, tally: Tensor) -> Mapping[str, Tensor]:
        """Mean IoU and mean recall."""
        return {"miou": ious(tally).nanmean().float(), "balanced": metrics.recalls(tally).nanmean().float()}

    def validation(self, model: Network) -> None:
        """None that would fit into memory; `check` has refused the steps that ask for it."""

    def about(self) -> dict[str, Any]:
        """As `Prepared`, and how whole images are looked at."""
        window = None if self.pixels.window is None else [self.pixels.window] * 2
        return super().about() | {"pixels": {"short_side": self.pixels.short_side, "window": window}}

    def judge(self, model: Network, about: Mapping[str, Any], engine: Engine) -> Judged:
        """`segmentation_summary` of the test images at the size of their masks, and what is compared with it.

        ``gap`` is the mean IoU of as many training images, evenly spaced, less that of the test images. ``post_hoc`` are
        figures after adjustment to a uniform target. ``worst_images`` are those of lowest mean IoU over their classes.
        """
        shift = correction(torch.tensor(about["carried_log_prior"]), self.counts)
        total, adjusted, outlines, single = (torch.zeros(n, model.classes, dtype=torch.int64) for n in (3, 3, 4, 3))
        worst: list[tuple[float, int]] = []
        test = cast(PixelSplit, self.test)
        for i, (scores, truth) in enumerate(self._seen(model, test, range(len(test.labels)))):
            found = classes_at(scores, (truth.shape[0], truth.shape[1])).cpu()
            total += (single := metrics.tally(found, truth, model.classes))
            if shift is not None:
                other = classes_at(scores, (truth.shape[0], truth.shape[1]), shift.to(scores)).cpu()
                adjusted += metrics.tally(other, truth, model.classes)
            if self.pixels.boundary is not None:
                tolerance = max(round(self.pixels.boundary * float(torch.tensor(truth.shape).double().norm())), 1)
                outlines += boundary_tally(found, truth, model.classes, tolerance)
            if int(single[1].sum()):
                worst.append((float(ious(single).nanmean()), i))
        if not int(total[1].sum()):
            raise TailwiseError("judge: no labelled pixel in the test images; give masks with classes")
        summary = segmentation_summary(total, self.counts, self.names, outlines if self.pixels.boundary is not None else None)
        figures = {
            "n_test": len(test.labels),
            "test_pixels": int(total[1].sum()),
            **summary,
            "gap": {"miou": self._trained(model) - summary["miou"]},
            "post_hoc": None if shift is None else self._post_hoc(adjusted),
            "worst_images": [{"image": i, "miou": iou} for iou, i in sorted(worst)[:SHOWN]],
        }
        return Judged(figures, lambda page, whole, run: self._draw(model, page, whole))

    def _draw(self, model: Network, page: Path, whole: Mapping[str, Any]) -> None:
        """Write the page, with the worst images looked at once more."""
        from tailwise.report import pixels  # templates load where a page is drawn, not where a run starts

        chosen = [row["image"] for row in whole["worst_images"]]
        test = cast(PixelSplit, self.test)
        triples = []
        for row, i, (scores, truth) in zip(whole["worst_images"], chosen, self._seen(model, test, chosen), strict=True):
            image, _ = read_pair(test, i, None)
            found = classes_at(scores, (truth.shape[0], truth.shape[1])).cpu()
            triples.append((f"test image {i}", row["miou"], image.permute(1, 2, 0), truth, found))
        pixels.write(page, whole, triples)

    def _seen(self, model: Network, split: PixelSplit, which: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Scores (h, w, C) and labels (H, W) of some images, by the model in eval mode."""
        device = next(model.parameters()).device
        window = None if self.pixels.window is None else (self.pixels.window, self.pixels.window)
        slide = Sliding(window=window, flip=self.pixels.flip)
        training = model.training
        model.eval()
        try:
            for i in which:
                image, truth = read_pair(split, i, self.pixels.short_side)
                yield slide(model, self.normalise(image.to(device))), truth
        finally:
            model.train(training)

    def _trained(self, model: Network) -> float:
        """Mean IoU of training images, as many as there are test images."""
        train = cast(PixelSplit, self.train)
        step = max(len(train.labels) // len(self.test.labels), 1)
        total = torch.zeros(3, model.classes, dtype=torch.int64)
        for scores, truth in self._seen(model, train, range(0, len(train.labels), step)):
            total += metrics.tally(classes_at(scores, (truth.shape[0], truth.shape[1])).cpu(), truth, model.classes)
        return float(ious(total).nanmean())

    def _post_hoc(self, tally: Tensor) -> dict[str, Any]:
        summary = segmentation_summary(tally, self.counts, self.names)
        return {"miou": summary["miou"], "mean_accuracy": summary["mean_accuracy"], "tail": summary["groups"]["tail"]}
