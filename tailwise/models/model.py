"""The deployed network: a backbone with its classifier."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tailwise.models.backbones import build
from tailwise.models.classifiers import Cosine, Linear, Scaled
from tailwise.types import Output, TailwiseError

Kind = Literal["linear", "cosine", "scaled"]
Classifier = Linear | Cosine | Scaled
CLASSIFIERS: dict[Kind, type[Classifier]] = {"linear": Linear, "cosine": Cosine, "scaled": Scaled}
_SAME = {
    "backbone": "backbone",
    "classes": "number of classes",
    "experts": "number of experts",
    "own_stages": "number of each expert's own stages",
    "decoder": "decoder",
    "width": "width",
}
"""What two stages of training must have in common, and what messages call it."""


class Network(nn.Module):
    """A backbone and a classifier; satisfies `tailwise.types.Model`.

    ``backbone`` and ``weights`` are those of `tailwise.models.build`; ``classifier`` is "linear", "cosine" or "scaled".
    ``config`` holds the arguments that rebuild it, apart from ``weights``. A second stage of training calls
    `load_stage`, and `freeze` where the backbone stays as it is.
    """

    def __init__(self, backbone: str, classes: int, classifier: Kind = "linear", weights: str = "none") -> None:
        super().__init__()
        self.config: dict[str, Any] = {"backbone": backbone, "classes": classes, "classifier": classifier}
        self.backbone = build(backbone, weights)
        self.dim = int(self.backbone.num_features)  # type: ignore[arg-type]
        self.classes = classes
        self.classifier = CLASSIFIERS[classifier](self.dim, classes)
        self.frozen = False
        self.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def load_stage(self, trained: "Network", classifier: bool) -> None:
        """Start from a trained network: copy its backbone and, if asked, its classifier.

        A scaled or linear classifier takes the weight and bias of a linear or scaled one, a cosine classifier the rows
        of a cosine one; what is not copied keeps its random start. A bias that a post-hoc step has set is copied with a
        linear classifier and left behind with a cosine one. Raises `TailwiseError` when backbones, class counts, or
        classifiers do not fit.
        """
        for key, what in _SAME.items():
            mine, theirs = self.config.get(key, "none"), trained.config.get(key, "none")
            if mine != theirs:
                raise TailwiseError(f"model.start_from: its {what} is {theirs}, this one is {mine}; they must be the same")
        self.backbone.load_state_dict(trained.backbone.state_dict())
        for ours, given in zip(self.heads(), trained.heads(), strict=True) if classifier else ():
            if isinstance(ours, Cosine) != isinstance(given, Cosine):
                kinds = f"a {trained.config['classifier']} classifier cannot start a {self.config['classifier']} one"
                raise TailwiseError(f"model.start_from: {kinds}; set model.reinitialise, or start from another run")
            if isinstance(ours, Cosine):
                ours.weight.copy_(given.weight)
            else:
                ours.assign(given.weight, given.bias)

    def heads(self) -> Sequence[Classifier]:
        """The classifier, or that of every expert."""
        return [self.classifier]

    def freeze(self) -> None:
        """Leave the backbone as it is from now on: no gradients, and eval mode whatever `train` says.

        Belongs to a training run and not to the model: it is not in the state dict, and a saved model comes back unfrozen.
        """
        self.frozen = True
        self.backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Network":
        """As in torch; a frozen backbone stays in eval mode, so that its running statistics do not move."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

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
