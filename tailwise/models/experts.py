"""Several experts on one trunk: the early stages of a backbone are shared, each expert has its own late ones."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tailwise.models.backbones import build
from tailwise.models.classifiers import Cosine
from tailwise.models.dense import DenseNetwork
from tailwise.models.model import CLASSIFIERS, Classifier, Kind, Network
from tailwise.models.resnet_cifar import ResNetCifar
from tailwise.types import ExpertOutput, TailwiseError


def network(
    backbone: str,
    classes: int,
    classifier: Kind = "linear",
    weights: str = "none",
    experts: int = 1,
    own_stages: int = 2,
    decoder: str | None = None,
    width: int = 256,
) -> Network:
    """What a recipe or a saved run describes: a `Network`, `Experts` where there are several, a `DenseNetwork` with a decoder.

    Raises `TailwiseError` for several experts with a decoder.
    """
    if decoder is not None:
        if experts != 1:
            raise TailwiseError(f"model.experts: a network for pixels has one, got {experts}; leave out experts or decoder")
        return DenseNetwork(decoder, backbone, classes, classifier, weights, width)
    if experts == 1:
        return Network(backbone, classes, classifier, weights)
    return Experts(backbone, classes, classifier, weights, experts, own_stages)


class Experts(Network):
    """E experts that share the early stages of a backbone; satisfies `tailwise.types.Model`.

    Each has the last ``own_stages`` of the stages and a classifier for itself, all started afresh, or from the same file
    where ``weights`` names one. The logits are the mean of the experts', and a post-hoc step acts on all of them alike.
    Backbones are the CIFAR ResNets (three stages) and timm's ResNets (four); others raise `TailwiseError`, and so do
    numbers out of range. RIDE (Wang et al., ICLR 2021) and SADE (Zhang et al., NeurIPS 2022) have three experts with two
    stages of their own, as here; theirs have three quarters of a stage's channels, these have all. The other arguments
    are those of `Network`.
    """

    backbone: "Branches"
    classifier: "Mean"  # type: ignore[assignment]  # has the methods of those that it is made of

    def __init__(
        self,
        backbone: str,
        classes: int,
        classifier: Kind = "linear",
        weights: str = "none",
        experts: int = 3,
        own_stages: int = 2,
    ) -> None:
        if experts < 1:
            raise TailwiseError(f"model.experts: at least one is needed, got {experts}")
        super().__init__(backbone, classes, classifier, weights)
        self.config |= {"experts": experts, "own_stages": own_stages}
        bodies = [self.backbone, *(build(backbone, weights) for _ in range(experts - 1))]
        self.backbone = Branches(bodies, own_stages, backbone)
        self.classifier = Mean([CLASSIFIERS[classifier](self.dim, classes) for _ in range(experts)])
        self.dim = self.backbone.num_features
        self.to(memory_format=torch.channels_last)

    def heads(self) -> Sequence[Classifier]:
        """See `Network`."""
        return cast(Sequence[Classifier], self.classifier.parts)

    def forward(self, views: Tensor) -> ExpertOutput:
        """Views (V, B, *X) to logits (V, B, C), experts (E, V, B, C), features (V, B, E·D) and classifier (C, E·D).

        Features and rows of the experts lie side by side, the rows divided by E. With linear and scaled classifiers,
        logits = features · classifierᵀ + the mean bias. With cosine classifiers the same holds, times the scale, once
        each expert's part of the features, and of the rows before the division, is brought to length one.
        """
        out = super().forward(views)
        with torch.autocast(views.device.type, enabled=False):
            experts = self.classifier.each(out.features)
        return ExpertOutput(out.logits, out.features, out.classifier, out.scale, experts=experts)


class Branches(nn.Module):
    """Early stages of the first of several equal backbones, then the ``own`` last stages of each.

    Images (N, 3, H, W) to the experts' features side by side (N, E·D). ``name`` is the backbone's, for messages.
    """

    def __init__(self, bodies: Sequence[nn.Module], own: int, name: str) -> None:
        super().__init__()
        stages = [_stages(body, name) for body in bodies]
        last = len(stages[0]) - 1
        if not 0 <= own <= last:
            raise TailwiseError(f"model.own_stages: {name} has {last} stages that an expert can have of its own, got {own}")
        early = last + 1 - own
        self.shared = nn.Sequential(*stages[0][:early])
        self.own = nn.ModuleList(nn.Sequential(*late[early:]) for late in stages)
        self.num_features = len(bodies) * int(bodies[0].num_features)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, E·D)."""
        x = self.shared(x)
        return torch.cat([branch(x).mean(dim=(2, 3)) for branch in self.own], dim=1)


def _stages(body: nn.Module, name: str) -> list[nn.Module]:
    """What a backbone does before its pooling, one module after another: the stem, then each stage."""
    if isinstance(body, ResNetCifar):
        depth = len(body.blocks) // 3
        stem = nn.Sequential(body.stem, body.norm, nn.ReLU())
        return [stem, *(body.blocks[at : at + depth] for at in range(0, 3 * depth, depth))]
    from timm.models.resnet import ResNet

    if isinstance(body, ResNet):
        stem = nn.Sequential(body.conv1, body.bn1, body.act1, body.maxpool)
        return [stem, body.layer1, body.layer2, body.layer3, body.layer4]
    raise TailwiseError(f"model.experts: {name} has no stages to share; take a CIFAR ResNet (resnet32) or timm's (resnet50)")


class Mean(nn.Module):
    """The mean of a classifier for each expert, with the methods and attributes of one classifier.

    ``weight`` (C, E·D) holds the rows of the parts side by side, divided by E, and ``bias`` (C,) the mean of theirs, both in
    the graph; ``scale`` is that of every part.
    """

    def __init__(self, parts: Sequence[Classifier]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.scale = parts[0].scale

    @property
    def weight(self) -> Tensor:
        """(C, E·D)."""
        return torch.cat([part.weight for part in self.parts], dim=1) / len(self.parts)  # type: ignore[misc]

    @property
    def bias(self) -> Tensor:
        """(C,)."""
        return torch.stack([part.bias for part in self.parts]).mean(0)  # type: ignore[misc]

    def each(self, features: Tensor) -> Tensor:
        """(…, E·D) -> (E, …, C): every part on its share of the features."""
        shares = features.chunk(len(self.parts), dim=-1)
        return torch.stack([part(share) for part, share in zip(self.parts, shares, strict=True)])

    def forward(self, features: Tensor) -> Tensor:
        """(…, E·D) -> (…, C)."""
        return self.each(features).mean(0)

    @torch.no_grad()
    def shift(self, by: Tensor) -> None:
        """Add ``by`` (C,) to every expert's logits of every input, and so to their mean."""
        for part in self.parts:
            part.shift(by)  # type: ignore[operator]

    @torch.no_grad()
    def assign(self, weight: Tensor, bias: Tensor) -> None:
        """From now on the mean is ``weight · f + bias``, weight (C, E·D); every expert has that bias. Not for cosines."""
        for part, rows in zip(self.parts, weight.chunk(len(self.parts), dim=1), strict=True):
            if isinstance(part, Cosine):
                raise TailwiseError("a cosine classifier cannot take other rows; set model.classifier linear")
            part.assign(len(self.parts) * rows, bias)  # type: ignore[operator]
