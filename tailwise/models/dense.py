"""Networks for pixels: a timm encoder and a decoder of segmentation-models-pytorch, then a classifier of every cell."""

import difflib
import inspect
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tailwise.models.classifiers import Cosine, Linear, Scaled
from tailwise.models.model import CLASSIFIERS, Network
from tailwise.types import DenseOutput, TailwiseError

_DECODERS = {"upernet": "UPerNet", "deeplabv3plus": "DeepLabV3Plus", "fpn": "FPN", "unet": "Unet"}
"""Their names there."""


class DenseNetwork(Network):
    """A network that classifies pixels; satisfies `tailwise.types.Model`.

    ``decoder`` is "upernet" (Xiao et al., ECCV 2018), "deeplabv3plus" (Chen et al., ECCV 2018), "fpn" (Kirillov et al., CVPR
    2019) or "unet" (Ronneberger et al., MICCAI 2015). ``width`` is the number of channels of its widest layers, a positive
    multiple of 64; the features have D = width for the first two, width / 2 for fpn and width / 16 for unet, whose cells are
    single pixels; those of the others are 4 × 4 pixels. Compute grows with the width, for upernet about with its square.

    ``backbone`` is a timm model with stages at 1/4, 1/8, 1/16 and 1/32 of the image, for deeplabv3plus one that timm can
    dilate too. ``weights`` are those of `tailwise.models.build` and fill the encoder; the decoder starts afresh. `freeze`
    holds both. The other arguments are those of `Network`. Raises `TailwiseError` for a decoder or backbone that does not
    exist (naming the nearest) or that does not fit, and where segmentation-models-pytorch is missing.
    """

    backbone: "Body"

    def __init__(
        self,
        decoder: str,
        backbone: str,
        classes: int,
        classifier: Literal["linear", "cosine", "scaled"] = "linear",
        weights: str = "none",
        width: int = 256,
    ) -> None:
        if decoder not in _DECODERS:
            near = difflib.get_close_matches(decoder, _DECODERS, n=1, cutoff=0.0)[0]
            raise TailwiseError(f"model.decoder: {decoder} unknown; did you mean {near}? (of {', '.join(_DECODERS)})")
        if width < 64 or width % 64:
            raise TailwiseError(f"model.width: must be a positive multiple of 64, got {width}")
        super().__init__(backbone, classes, classifier, weights)
        self.config |= {"decoder": decoder, "width": width}
        self.backbone = Body(decoder, backbone, width, self.backbone)
        self.dim = self.backbone.num_features
        self.classifier: Linear | Cosine | Scaled = CLASSIFIERS[classifier](self.dim, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, views: Tensor) -> DenseOutput:
        """Views (V, B, 3, H, W) in one pass; logits (V, B, h, w, C) and features (V, B, h, w, D), classes and channels last.

        h = ⌈H / 4⌉ and w = ⌈W / 4⌉, for unet H and W: cell i covers rows 4i to 4i + 3, so row y is in cell ⌊y h / H⌋, or in the
        one before where H is no multiple of 4. Sides of multiples of 32 are quickest: others are extended to the right and
        below, and their features are a view. Raises `TailwiseError` where BatchNorm would train on a single image.
        """
        out = super().forward(views)
        height, width = views.shape[-2:]
        rows, columns = out.features.shape[2:4]
        covered = (rows * self.backbone.cell, columns * self.backbone.cell)
        return DenseOutput(out.logits, out.features, out.classifier, out.scale, size=(height, width), covered=covered)


class Body(nn.Module):
    """Encoder and decoder: images (N, 3, H, W) to features (N, h, w, D), each of which covers ``cell`` × ``cell`` pixels.

    ``source`` is the timm model called ``backbone``, whose weights the encoder takes.
    """

    def __init__(self, decoder: str, backbone: str, width: int, source: nn.Module) -> None:
        super().__init__()
        try:
            import segmentation_models_pytorch as smp
        except ModuleNotFoundError as error:
            raise TailwiseError(
                "model.decoder: needs segmentation-models-pytorch; run pip install tailwise[segmentation]"
            ) from error
        try:
            options = _widths(decoder, width) | _any_size(source)
            net = getattr(smp, _DECODERS[decoder])("tu-" + backbone, encoder_weights=None, **options)
            self.encoder, self.decoder = net.encoder, net.decoder  # without the library's own classifier
            _copy(source, self.encoder.model)
            side = 64
            with torch.no_grad():  # whether it takes a picture of any shape, and what comes out
                probe = self.eval()._map(torch.zeros(1, 3, side, side + 32))
        except Exception as error:  # every family of models refuses in its own way
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TailwiseError(
                f"model.backbone: {backbone} cannot feed {decoder} ({reason}); "
                "take one such as resnet50, convnext_tiny or efficientnet_b0"
            ) from error
        self.train()
        self.multiple = int(self.encoder.output_stride)
        self.num_features = probe.shape[1]
        self.cell = side // probe.shape[2]

    def _map(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), sides multiples of the encoder's stride, to (N, D, H / cell, W / cell)."""
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, ⌈H / cell⌉, ⌈W / cell⌉, D), channels last in memory too; a view where sides were extended."""
        height, width = x.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        if below or right:  # by the last row and column: black would shift the means that the pyramid and the norms see
            x = F.pad(x, (0, right, 0, below), mode="replicate").contiguous(memory_format=torch.channels_last)
        try:
            features = self._map(x)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TailwiseError(
                "batch_size: BatchNorm cannot train on a single image; give at least two per step and process"
            ) from error
        features = features.contiguous(memory_format=torch.channels_last).movedim(1, -1)
        return features[:, : -(-height // self.cell), : -(-width // self.cell)]


def _widths(decoder: str, width: int) -> dict[str, Any]:
    """How each decoder is told its width; 256 gives its default."""
    if decoder == "fpn":
        return {"decoder_pyramid_channels": width, "decoder_segmentation_channels": width // 2}
    return {"decoder_channels": [width // 2**stage for stage in range(5)] if decoder == "unet" else width}


def _any_size(source: nn.Module) -> dict[str, bool]:
    """The Swin family checks the sides of its input, unless it is told not to."""
    return {"strict_img_size": False} if "strict_img_size" in inspect.signature(type(source)).parameters else {}


def _copy(source: nn.Module, encoder: nn.Module) -> None:
    """The weights of a timm model into its version that gives feature maps, where ``stages.0`` may be ``stages_0``."""
    given = {name.replace(".", "_"): value for name, value in source.state_dict().items()}
    encoder.load_state_dict({name: given[name.removeprefix("model.").replace(".", "_")] for name in encoder.state_dict()})
