"""Light fine-tuning of a pretrained vision transformer: few trainable weights beside frozen ones, merged when it is done."""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tailwise.models.classifiers import Cosine
from tailwise.models.model import Network
from tailwise.types import Batch, TailwiseError

LAYERS = r"(.*\.)?blocks\.\d+\.attn\.(qkv|proj)"
"""The layers with an adapter; "proj" alone would also name the patch embedding."""
LEAST = 4
"""The least rank of an adapter."""


def rank(classes: int, blocks: int) -> int:
    """2^⌊log₂(C / 6L)⌋, at least `LEAST`: the largest power of 2 with no more weights in L blocks than in the classifier.

    Of width D these are 6 r D L (qkv has 4 r D a block, proj 2 r D) and C D for C classes. After LIFT (Shi et al., ICML 2024),
    whose bottlenecks of 2 r D a block have C / 2L, and at least 1.
    """
    return int(max(LEAST, 2 ** ((classes // (6 * blocks)).bit_length() - 1)))


def adaptable(name: str) -> bool:
    """Whether `adapt` takes the backbone of that name: a vision transformer of timm. Nothing is built."""
    from timm.models import is_model, is_model_in_modules

    return bool(is_model(name) and is_model_in_modules(name.split(".")[0], ["vision_transformer", "deit"]))


def adapt(network: Network) -> None:
    """Freeze the backbone but for its norms, and add a low-rank term to the attention layers, in place.

    LoRA (Hu et al., ICLR 2022): x (W + B A)ᵀ with A (r, D) random and B (D', r) zero, so nothing changes at first; r is
    `rank`. Trained are A, B, the norms and the classifier. Raises `TailwiseError` for a backbone that is no vision
    transformer and where peft is not installed.
    """
    name = network.config["backbone"]
    if not adaptable(name):
        raise TailwiseError(f"model.adapter lora: {name} is no vision transformer of timm (vit_…, deit3_…); leave it out")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise TailwiseError("model.adapter lora: needs peft; install it with `pip install 'tailwise[adapters]'`") from error
    r = rank(network.classes, len(cast(nn.Sequential, network.backbone.blocks)))
    inject_adapter_in_model(LoraConfig(r=r, lora_alpha=r, target_modules=LAYERS), network.backbone)
    for module in network.backbone.modules():
        if "norm" in type(module).__name__.lower():
            module.requires_grad_(True)


def merge(network: Network) -> Network:
    """The same network, in place, with W + B A written into its plain layers; any other network is left as it is."""
    for path, layer in list(network.backbone.named_modules()):
        if hasattr(layer, "get_base_layer"):
            layer.merge()
            parent, _, child = path.rpartition(".")
            setattr(network.backbone.get_submodule(parent), child, layer.get_base_layer())
    return network


@torch.no_grad()
def start_from_means(network: Network, batches: Iterable[Batch]) -> None:
    """Set the rows of a cosine classifier to the mean direction of each class's features; absent classes keep theirs.

    w_c = Σ f / ‖f‖ over the samples of class c, brought to length one. Reads the first view, in eval mode. Raises
    `TailwiseError` for another classifier.
    """
    if not isinstance(network.classifier, Cosine):
        raise TailwiseError("model.head class_means: only a cosine classifier starts so; set model.classifier cosine")
    weight = network.classifier.weight
    total, training = torch.zeros_like(weight), network.training
    network.eval()
    for batch in batches:
        features: Tensor = network(batch.views[:1]).features[0]
        total.index_add_(0, batch.labels, F.normalize(features, dim=-1))
    network.train(training)
    seen = total.norm(dim=1) > 0
    weight[seen] = F.normalize(total[seen], dim=1)
