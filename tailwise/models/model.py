"""The deployed network: a backbone with its classifier."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from tailwise.models.backbones import build
from tailwise.models.classifiers import Cosine, Linear
from tailwise.types import Output


class Network(nn.Module):
    """A backbone and a classifier; satisfies `tailwise.types.Model`.

    ``backbone`` and ``weights`` are those of `tailwise.models.build`; ``classifier`` is "linear" or "cosine". ``config``
    holds the arguments that rebuild it, apart from ``weights``.
    """

    def __init__(
        self, backbone: str, classes: int, classifier: Literal["linear", "cosine"] = "linear", weights: str = "none"
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"backbone": backbone, "classes": classes, "classifier": classifier}
        self.backbone = build(backbone, weights)
        self.dim = int(self.backbone.num_features)  # type: ignore[arg-type]
        self.classes = classes
        self.classifier = {"linear": Linear, "cosine": Cosine}[classifier](self.dim, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, views: Tensor) -> Output:
        """Views (V, B, *X) in one pass, so that normalisation sees all of them; logits (V, B, C), features (V, B, D)."""
        x = views.flatten(0, 1)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        weight = self.classifier.weight
        features = self.backbone(x).to(weight.dtype).unflatten(0, views.shape[:2])
        with torch.autocast(weight.device.type, enabled=False):  # bf16 would round cosine logits of scale 30 by up to 0.06
            logits = self.classifier(features)
        return Output(logits, features, weight, self.classifier.scale)
