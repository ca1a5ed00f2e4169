"""Checkpoints that the authors' code of BCL, GML and ProCo writes, as our networks: read without running code from them."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tailwise.models.model import Network
from tailwise.models.resnet_cifar import DEPTHS
from tailwise.models.weights_file import read_tensors
from tailwise.types import TailwiseError

ENCODERS = {"bcl": ("encoder.",), "gml": ("encoder_q.",), "proco": ("encoder.",)}
"""How the names of the deployed backbone begin in each method's code; GML's teacher, and ports, have other beginnings."""
MARKS = {"encoder_q.": "gml", "head_fc.": "bcl", "head.": "proco"}
"""How a name begins in a file of one method's code alone; BCL's has ``head.`` too, so the order matters."""
OTHERS = ("encoder.", "backbone.", "")
HEADS = ("fc.", "classifier.", "linear.")

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INATURALIST = ((0.466, 0.471, 0.380), (0.195, 0.194, 0.192))
"""Mean and standard deviation that their code normalises each data set with."""
SPECIES = 8142
"""Classes of iNaturalist 2018."""

RESNETS: dict[tuple[int | str, ...], str] = {
    (2, 2, 2, 2, "basic", 64): "resnet18",
    (3, 4, 6, 3, "basic", 64): "resnet34",
    (3, 4, 6, 3, "bottleneck", 64): "resnet50",
    (3, 4, 23, 3, "bottleneck", 64): "resnet101",
    (3, 8, 36, 3, "bottleneck", 64): "resnet152",
    (3, 4, 6, 3, "bottleneck", 4): "resnext50_32x4d",
    (3, 4, 23, 3, "bottleneck", 4): "resnext101_32x4d",
    (3, 4, 23, 3, "bottleneck", 8): "resnext101_32x8d",
}
"""Blocks per stage, their kind, and the inputs of the first 3 × 3 convolution per group: timm's name."""
_BODY = re.compile(r"(?:conv1|bn1|layer(\d)\.(\d+))\..+")


@dataclass(frozen=True)
class Published:
    """A converted network, what its ``model.json`` says, and how many entries the file has beside it, by their first word."""

    network: Network
    about: dict[str, Any]
    left_out: Mapping[str, int]


def convert(path: Path, method: Literal["bcl", "gml", "proco"], names: Sequence[str] | None = None) -> Published:
    """A checkpoint of ``method``: the network that its code deploys, with the same logits (GML's times 30).

    The backbone is a CIFAR ResNet or a ResNet, ResNeXt named as torchvision names its layers; the classifier is linear
    where it has a bias, else cosine, whose weight their code keeps as (D, C). ``names`` are the classes', by default their
    numbers. A checkpoint says nothing of its training set: ``train_counts`` are None, and ``about`` lists under
    ``converted`` what is unknown and what is assumed. The logits carry no prior: all three train a logit-adjusted loss.

    Raises `TailwiseError` for a file that is no such checkpoint, of another method, or not safe to read; for weights that
    are not finite, an architecture that is not ours, and wrong ``names``.
    """
    tensors = read_tensors(path)
    writer, mark = next(((m, k) for k, m in MARKS.items() if any(key.startswith(k) for key in tensors)), (method, ""))
    if writer != method:
        raise TailwiseError(f"{path}: written by {writer}'s code, it has {mark}*; give --from {writer} instead of {method}")
    prefix = next((p for p in (*ENCODERS[method], *OTHERS) if f"{p}conv1.weight" in tensors), None)
    if prefix is None:
        first = ", ".join(list(tensors)[:3])
        raise TailwiseError(
            f"{path}: no network of {method} in it ({ENCODERS[method][0]}conv1.weight is missing); it has {first}"
        )
    body = {k.removeprefix(prefix): v for k, v in tensors.items() if _BODY.fullmatch(k.removeprefix(prefix))}
    head = next((p for p in (f"{prefix}fc.", *HEADS) if f"{p}weight" in tensors), None)
    if head is None:
        raise TailwiseError(f"{path}: no classifier in it (fc.weight is missing); it holds features only")
    backbone, renamed = _architecture(path, body)
    rows, bias = _classifier(path, tensors[f"{head}weight"], tensors.get(f"{head}bias"), _width(body))
    made = Network(backbone, len(rows), "cosine" if bias is None else "linear")
    state = {f"backbone.{k}": v for k, v in renamed.items()} | {"classifier.weight": rows}
    state["classifier.bias"] = torch.zeros(len(rows)) if bias is None else bias
    _fill(path, made, state)
    used = {f"{prefix}{k}" for k in body} | {f"{head}weight", f"{head}bias"}
    if bad := next((key for key in tensors if key in used and not tensors[key].isfinite().all()), None):
        raise TailwiseError(f"{path}: {bad} holds NaN or infinite numbers; take another checkpoint")
    about = {"classes": _names(len(rows), names), **_about(path, method, backbone, len(rows))}
    return Published(made.eval(), about, Counter(k.split(".")[0] for k in tensors if k not in used))


def _about(path: Path, method: str, backbone: str, classes: int) -> dict[str, Any]:
    small = backbone.removeprefix("resnet") in map(str, DEPTHS)
    mean, std = CIFAR if small else INATURALIST if classes == SPECIES else IMAGENET
    return {
        "image_size": 32 if small else 224,
        "normalisation": {"mean": mean, "std": std},
        "train_counts": None,
        "carried_log_prior": [0.0] * classes,
        "post_hoc": {},
        "converted": {
            "method": method,
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "unknown": ["train_counts"],
            "assumed": ["image_size", "normalisation", "carried_log_prior"],
        },
    }


def _architecture(path: Path, body: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The backbone's name, and its tensors by the names that it has here."""
    places = {(int(m[1]), int(m[2])) for key in body if (m := _BODY.fullmatch(key)) and m[1]}
    depths = tuple(sum(stage == s for s, _ in places) for stage in range(1, max((s for s, _ in places), default=0) + 1))
    first = "layer1.0.conv2.weight"
    if first not in body or 0 in depths:
        raise TailwiseError(f"{path}: its network is no ResNet (no {first}); only ResNets and ResNeXts can be converted")
    if len(depths) == 3 and len(set(depths)) == 1 and 6 * depths[0] + 2 in DEPTHS:
        return f"resnet{6 * depths[0] + 2}", {_cifar_name(key, depths[0]): value for key, value in body.items()}
    kind = "bottleneck" if "layer1.0.conv3.weight" in body else "basic"
    known = RESNETS.get((*depths, kind, body[first].shape[1]))
    if known is None:
        shape = " + ".join(map(str, depths))
        raise TailwiseError(f"{path}: a ResNet of {shape} {kind} blocks is not known; known are {', '.join(RESNETS.values())}")
    return known, dict(body)


def _cifar_name(key: str, depth: int) -> str:
    key = re.sub(r"^conv1\.", "stem.", re.sub(r"\bbn", "norm", key))
    key = re.sub(r"^norm1\.", "norm.", key)
    return re.sub(r"^layer(\d)\.(\d+)", lambda m: f"blocks.{(int(m[1]) - 1) * depth + int(m[2])}", key)


def _width(body: Mapping[str, Tensor]) -> int:
    """D, the features that the classifier reads: the channels of the last stage."""
    last = max(key for key in body if re.fullmatch(r"layer\d\.0\.bn\d\.weight", key))
    return len(body[last])


def _classifier(path: Path, weight: Tensor, bias: Tensor | None, width: int) -> tuple[Tensor, Tensor | None]:
    """Rows (C, D) and, of a linear classifier, the bias."""
    if weight.ndim == 2 and bias is not None and weight.shape == (len(bias), width):
        return weight, bias
    if weight.ndim == 2 and bias is None and weight.shape[0] == width:
        return weight.T.contiguous(), None
    shape = tuple(weight.shape)
    raise TailwiseError(
        f"{path}: a classifier of shape {shape} {'without' if bias is None else 'with'} bias on {width} features is unknown; "
        f"a linear one has (C, {width}) and a bias, a cosine one ({width}, C) and none"
    )


def _fill(path: Path, made: Network, state: dict[str, Tensor]) -> None:
    """Load the tensors; all must be there, and fit."""
    wanted = made.state_dict()
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}  # old files lack them
    state = {**counters, **state}
    if odd := wanted.keys() ^ state.keys():
        key = min(odd)
        what = "lacks" if key in wanted else "has more than we do, such as"
        raise TailwiseError(f"{path}: {made.config['backbone']} does not fit: the file {what} {key}")
    for key, value in wanted.items():
        if state[key].shape != value.shape:
            shapes = f"{tuple(state[key].shape)}, not {tuple(value.shape)}"
            raise TailwiseError(f"{path}: {made.config['backbone']} does not fit: {key} has shape {shapes}")
    made.load_state_dict(state)


def _names(classes: int, names: Sequence[str] | None) -> list[str]:
    if names is None:
        return [str(c) for c in range(classes)]
    if len(names) != classes:
        raise TailwiseError(f"convert: {len(names)} class names for {classes} classes; give one line for each, in their order")
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise TailwiseError(f"convert: the class name {repeated[0]!r} is there twice; names must differ")
    return list(names)
